// Package cluster is how a message finds its actor: placement, the request
// path, passivation and drain, on protoactor-go's actor system. It knows
// addresses and messages, not kinds or databases.
package cluster

import (
	"context"

	"google.golang.org/protobuf/proto"

	"stampede/actors/entity"
)

// Caller sends a command to a virtual actor and waits for its answer: the one
// request path. It retries within the context's deadline with the same
// command; every command is idempotent. Its errors wrap those of entity.
type Caller interface {
	Call(ctx context.Context, to entity.Address, cmd proto.Message) (proto.Message, error)
}
