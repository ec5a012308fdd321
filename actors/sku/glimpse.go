package sku

import (
	"time"

	"google.golang.org/protobuf/proto"

	"stampede/proto/gen/skupb"
)

// Reads reports the command that every shopper sends again and again.
func Reads(cmd proto.Message) bool {
	_, ok := cmd.(*skupb.GetLevel)
	return ok
}

// Again answers GetLevel with the level that it was answered with before, as of now.
func Again(before, _ proto.Message, now time.Time) proto.Message {
	said, ok := before.(*skupb.StockReply)
	if !ok || said.GetLevel() == nil {
		return nil
	}
	l := said.GetLevel()
	return &skupb.StockReply{Level: &skupb.Level{
		Sku: l.Sku, Stock: l.Stock, Version: l.Version, AsOfMs: now.UnixMilli(),
		ProductId: l.ProductId, Name: l.Name, Price: l.Price, Active: l.Active, Sale: l.Sale,
	}}
}
