package resolve

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/proto"

	"stampede/actors/entity"
)

// call asks an actor and expects one kind of answer.
func call[R proto.Message](ctx context.Context, c Caller, kind, id string, cmd proto.Message) (R, error) {
	var none R
	reply, err := c.Call(ctx, entity.Address{Kind: kind, ID: id}, cmd)
	if err != nil {
		return none, fmt.Errorf("ask %s/%s: %w", kind, id, err)
	}
	typed, ok := reply.(R)
	if !ok {
		return none, fmt.Errorf("ask %s/%s: answered with %T", kind, id, reply)
	}
	return typed, nil
}
