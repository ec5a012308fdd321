package cluster_test

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"stampede/actors"
	"stampede/actors/entity"
	"stampede/actors/order"
	"stampede/cluster"
	"stampede/proto/gen/commonpb"
	"stampede/proto/gen/orderpb"
	"stampede/proto/gen/skupb"
)

// BenchmarkIdleOrder reports the memory of one idle order with a line, held.
func BenchmarkIdleOrder(b *testing.B) {
	d := newDisk()
	caller := &late{}
	limits, options := entity.DefaultLimits(), cluster.DefaultOptions()
	options.SweepEvery = time.Hour
	rt := &entity.Runtime{Log: forgetful{d}, Store: d, Asker: caller, Clock: time.Now, Logger: quiet, Limits: limits}
	n := cluster.NewNode(quiet, actors.Kinds(rt), nil, options)
	caller.Caller = n
	const orders = 20_000
	for round := range b.N {
		sku := fmt.Sprint("sku-", round)
		if _, err := n.Call(b.Context(), entity.Address{Kind: "sku", ID: sku}, &skupb.Configure{
			ProductId: "prd_1", ProductVersion: 1, Name: "a", Active: true, InitialStock: 1_000_000, Price: &commonpb.Money{MinorUnits: 1, Currency: "EUR"},
		}); err != nil {
			b.Fatal(err)
		}
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		for i := range orders {
			customer := fmt.Sprint("usr_", i)
			addr := entity.Address{Kind: "order", ID: order.ID(customer, sku)}
			reply, err := n.Call(b.Context(), addr, &orderpb.Place{CustomerId: customer, IdempotencyKey: sku, HoldMs: 900_000, Lines: []*orderpb.PlaceLine{{Sku: sku, Quantity: 1}}})
			if err != nil || reply.(*orderpb.OrderReply).Refusal != nil {
				b.Fatal(reply, err)
			}
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc+after.StackInuse-before.HeapAlloc-before.StackInuse)/orders, "B/order")
		runtime.KeepAlive(n)
	}
}

// forgetful is a log that keeps nothing, so that only actors are measured.
type forgetful struct{ *disk }

func (forgetful) Commit(_ *entity.Record, done func(error)) { go done(nil) }
