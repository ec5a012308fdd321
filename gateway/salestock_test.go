package gateway_test

import (
	"strings"
	"testing"
	"time"

	"stampede/gateway/httpapi"
	"stampede/proto/gen/commonpb"
	"stampede/proto/gen/salepb"
)

// What goes along with a change is as it is then: each event of a subscription
// asks anew for the stock of the sale's variants.
func TestStockWithinSaleChanged(t *testing.T) {
	inHall(t, httpapi.StreamLimits{}, func(t *testing.T, h *hall) {
		h.room.stock("A", 1, 9)
		now := time.Now()
		h.room.put(aSale, &salepb.SaleReply{EventVersion: 1, Sale: &salepb.Sale{
			Id: aSale, Items: []*salepb.Item{{Sku: "A", SalePrice: &commonpb.Money{MinorUnits: 900, Currency: "EUR"}, Allocation: 9}},
			Schedule: &salepb.Schedule{Opened: true, StartsAtMs: now.UnixMilli(), EndsAtMs: now.Add(time.Hour).UnixMilli()},
		}})
		c := h.signedIn(asAlice)
		c.subscribe("s", `subscription { saleChanged(id: "`+aSale+`") { items { variant { sku stock { available version } } remaining } } }`)
		for i, want := range []string{`"available":9,"version":1`, `"available":7,"version":2`, `"available":6,"version":3`} {
			if i > 0 {
				h.room.stock("A", int64(i+1), []int64{9, 7, 6}[i])
				h.room.put(aSale, h.room.sale(int64(i)))
			}
			if text, err := c.read(); err != nil || !strings.Contains(text, want) {
				t.Fatalf("event %d: %s, %v; want %s", i+1, text, err, want)
			}
		}
	})
}
