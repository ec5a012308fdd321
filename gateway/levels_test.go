package gateway_test

import (
	"context"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"stampede/actors/entity"
	"stampede/gateway"
	"stampede/persistence"
	"stampede/proto/gen/productpb"
	"stampede/proto/gen/skupb"
)

// A list's stock is at most a moment old and costs its SKUs one question in that
// moment; stock that is asked for by itself is the SKU's answer, and what was
// changed through this node is seen at once.
func TestStockOfListsIsAMomentOld(t *testing.T) {
	now := clock()
	w := newWorld(t, func(c *gateway.Config) { c.Clock = func() time.Time { return now } })
	w.views.put(t, persistence.Row{Kind: "product", ID: productID(1), Version: 1, SortMs: 1},
		&productpb.Product{Id: productID(1), Name: "Mug", Published: true, Variants: []*productpb.Variant{{Sku: "A"}}})
	available := int64(0)
	w.caller.answer = func(context.Context, entity.Address, proto.Message) (proto.Message, error) {
		available++ // each question has another answer
		return &skupb.StockReply{Level: &skupb.Level{Sku: "A", Active: true, Stock: &skupb.Stock{Available: available}}}, nil
	}
	listed := func() string {
		t.Helper()
		a := w.ask("", `{ products { edges { node { variants { stock { available } } } } } }`, nil)
		return text(at(a.Data, "products", "edges", 0, "node", "variants", 0, "stock", "available"))
	}
	asked := func() string {
		t.Helper()
		return text(at(w.ask("", `{ stock(skus: ["A"]) { available } }`, nil).Data, "stock", 0, "available"))
	}
	if first, again := listed(), listed(); first != "1" || again != "1" {
		t.Errorf("listed twice: %s, %s", first, again)
	}
	if got := asked(); got != "2" {
		t.Errorf("asked: %s", got)
	}
	now = now.Add(600 * time.Millisecond)
	if got := listed(); got != "3" {
		t.Errorf("a moment later: %s", got)
	}
	w.ask(asStaff, `mutation { adjustStock(input: {idempotencyKey: "k", sku: "A", delta: 1, reason: "r"}) { userErrors { code } } }`, nil)
	if got := listed(); got != "5" {
		t.Errorf("after a change through this node: %s", got)
	}
}
