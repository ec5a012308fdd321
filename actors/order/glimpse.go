package order

import (
	"time"

	"google.golang.org/protobuf/proto"

	"stampede/proto/gen/orderpb"
)

// Reads reports the command that a shopper sends while waiting for the order to
// go on.
func Reads(cmd proto.Message) bool {
	_, ok := cmd.(*orderpb.Get)
	return ok
}

// Again answers Get with the order that it was answered with before, if whoever
// asks may see it.
func Again(before, cmd proto.Message, _ time.Time) proto.Message {
	said, ok := before.(*orderpb.OrderReply)
	get, reads := cmd.(*orderpb.Get)
	if !ok || !reads || said.GetOrder() == nil || !mayRead(get.GetActor(), said.GetOrder().GetCustomerId()) {
		return nil
	}
	return said
}
