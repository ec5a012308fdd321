package order_test

import (
	"fmt"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"stampede/actors/order"
	"stampede/actors/sku"
	"stampede/proto/gen/commonpb"
	"stampede/proto/gen/orderpb"
	"stampede/proto/gen/paymentpb"
	"stampede/proto/gen/skupb"
)

// TestReturnsAskedLongAfter: the SKU has taken refunded units in, and the order
// hears nothing of it for a month, at each step at which it could; the shop went
// on all that time. The units are counted once, and in the end nothing is kept.
func TestReturnsAskedLongAfter(t *testing.T) {
	const month = 30 * 24 * time.Hour
	for lost := range 4 { // the answer to so many of the last questions
		now := time.UnixMilli(1_800_000_000_000)
		s, shelf := order.New(order.ID("usr_1", "k1")), sku.New("A")
		tell := func(cmd proto.Message) proto.Message {
			events, reply := sku.Decide(shelf, cmd, now)
			for _, e := range events {
				sku.Evolve(shelf, e)
			}
			return reply
		}
		ask := func(a order.Ask) proto.Message {
			switch c := a.Command.(type) {
			case *paymentpb.Authorize:
				return &paymentpb.AuthorizeReply{Status: paymentpb.AuthorizeReply_STATUS_AUTHORIZED, Provider: "p", Reference: "r"}
			case *paymentpb.Capture:
				return &paymentpb.CaptureReply{}
			case *paymentpb.Refund:
				return &paymentpb.RefundReply{Status: paymentpb.RefundReply_STATUS_REFUNDED, Reference: "re"}
			default:
				return tell(c)
			}
		}
		command := func(cmd proto.Message, heard map[string]proto.Message) order.Decision {
			d := order.Decide(s, cmd, now, heard)
			for _, e := range d.Events {
				order.Evolve(s, e)
			}
			return d
		}
		settle := func(drop func(proto.Message) bool) {
			for range 20 {
				heard := map[string]proto.Message{}
				for _, a := range order.Pending(s) {
					if reply := ask(a); !drop(a.Command) {
						heard[a.Key] = reply
						continue
					}
					now = now.Add(month)
					for i := range 20 { // and the SKU forgets what it may
						tell(&skupb.Adjust{IdempotencyKey: fmt.Sprint(now, i), Delta: 1, Reason: "x"})
						tell(&skupb.Adjust{IdempotencyKey: fmt.Sprint(now, -i-1), Delta: -1, Reason: "x"})
					}
				}
				command(&commonpb.Continue{}, heard)
			}
		}
		never := func(proto.Message) bool { return false }
		staff := &commonpb.Actor{UserId: "usr_s", Staff: true}

		tell(&skupb.Configure{ProductId: "prd_1", ProductVersion: 1, Name: "A", Price: &commonpb.Money{MinorUnits: 1000, Currency: "EUR"}, Active: true, InitialStock: 10})
		place := &orderpb.Place{CustomerId: "usr_1", IdempotencyKey: "k1", Lines: []*orderpb.PlaceLine{{Sku: "A", Quantity: 4}}, HoldMs: 60_000, PaymentToken: "tok"}
		heard := map[string]proto.Message{}
		for _, a := range command(place, nil).Asks {
			heard[a.Key] = ask(a)
		}
		command(place, heard)
		settle(never)
		command(&orderpb.Fulfil{Actor: staff, IdempotencyKey: "f"}, nil)
		settle(never)
		command(&orderpb.Refund{Actor: staff, IdempotencyKey: "r", Restock: true, Lines: []*orderpb.LineQuantity{{Sku: "A", Quantity: 3}}}, nil)
		n := 0
		settle(func(cmd proto.Message) bool {
			if _, money := cmd.(*paymentpb.Refund); money {
				return false
			}
			n++
			return n <= lost
		})
		if pending := order.Pending(s); len(pending) != 0 {
			t.Fatalf("%d answers lost: still pending: %v", lost, pending)
		}
		if level := tell(&skupb.GetLevel{}).(*skupb.StockReply).GetLevel().GetStock(); level.GetAvailable() != 9 || level.GetCommitted() != 0 {
			t.Errorf("%d answers lost: %v", lost, level)
		}
		for _, e := range sku.Snapshot(shelf).(*skupb.State).GetSettled() {
			if e.GetUnsettled() {
				t.Errorf("%d answers lost: %v is kept", lost, e)
			}
		}
	}
}
