package product

import (
	"time"

	"google.golang.org/protobuf/proto"

	"stampede/proto/gen/productpb"
)

// Reads reports the command with which a product's page is read.
func Reads(cmd proto.Message) bool {
	_, ok := cmd.(*productpb.Get)
	return ok
}

// Again answers Get with the product that it was answered with before.
func Again(before, _ proto.Message, _ time.Time) proto.Message {
	if said, ok := before.(*productpb.ProductReply); ok && said.GetProduct() != nil {
		return said
	}
	return nil
}
