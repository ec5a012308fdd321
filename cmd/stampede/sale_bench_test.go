package main

import (
	"bytes"
	"strconv"
	"testing"
	"time"

	"stampede/actors/sale"
	"stampede/cmd/stampede/internal/load"
	"stampede/cmd/stampede/internal/shop"
	"stampede/gateway/auth"
)

// BenchmarkPlaceOrderInSale is orders in a sale with everything (its hours, a limit
// for each customer, a waiting room's admission) beside plain orders, in turns, in
// one process.
//
//	go test ./cmd/stampede -run '^$' -bench PlaceOrderInSale -benchtime 60000x
func BenchmarkPlaceOrderInSale(b *testing.B) {
	n := wholeNode(b, nodeFlags{})
	plain, tokens := wholeShop(b, n)
	reduced, _ := wholeShop(b, n)
	saleID, admissions := wholeSale(b, n, reduced, tokens)
	requests := max(b.N/wholeRounds, wholeConnections)
	var elapsed, used [2]time.Duration
	for round := range 2 * wholeRounds {
		which := round % 2
		began := processCPU(b)
		elapsed[which] += wholeLoad(b, n.url, requests, shop.JudgePlaced, func(t *load.Task, i int64) {
			who := i % int64(len(tokens))
			key := strconv.Itoa(round) + "-" + strconv.FormatInt(i, 10)
			t.Token = tokens[who]
			if which == 0 {
				t.Body = shop.AppendPlaceOrder(t.Body[:0], plain+key, plain, 1)
				return
			}
			t.Body = bytes.TrimSuffix(shop.AppendSaleOrder(t.Body[:0], reduced+key, reduced, 1, saleID), []byte("}}}"))
			t.Body = append(append(append(t.Body, `,"admissionToken":"`...), admissions[who]...), `"}}}`...)
		}).Elapsed
		used[which] += processCPU(b) - began
	}
	total := float64(requests * wholeRounds)
	for which, name := range []string{"plain", "sale"} {
		b.ReportMetric(total/elapsed[which].Seconds(), name+"-orders/s")
		b.ReportMetric(float64(used[which].Microseconds())/total, "cpu-us/"+name)
	}
	b.ReportMetric(used[1].Seconds()/used[0].Seconds(), "sale/plain-cpu")
}

// wholeSale is an open sale of a SKU, and an admission to it for each shopper.
func wholeSale(b *testing.B, n *node, sku string, tokens []string) (id string, admissions []string) {
	b.Helper()
	staff, _, err := n.tokens.Issue("usr_staff", []auth.Role{auth.Customer, auth.Staff}, time.Now())
	if err != nil {
		b.Fatal(err)
	}
	now := time.Now()
	made, err := shop.NewClient(n.url, staff).CreateSale(b.Context(), shop.NewSale{
		Key: sku, Name: "Whole", StartsAt: now.Add(-time.Second), EndsAt: now.Add(time.Hour), PerCustomerLimit: sale.MaxPerCustomer,
		Admission: "FIRST_COME", AdmitPerSecond: sale.MaxAdmitPerSecond, Price: shop.Money{Amount: "9.90", Currency: "EUR"},
		Allocation: map[string]int{sku: min(benchStock/2, sale.MaxAllocation)}, SKUs: []string{sku},
	})
	if err != nil {
		b.Fatal(err)
	}
	const join = `mutation($id: ID!) { joinSale(input: {saleId: $id}) { ticket { id } userErrors { code } } }`
	const look = `query($id: ID!) { ticket(id: $id) { admissionToken } }`
	for _, token := range tokens {
		c := shop.NewClient(n.url, token)
		var joined struct{ JoinSale struct{ Ticket shop.Ticket } }
		if err := c.Call(b.Context(), join, map[string]any{"id": made.ID}, &joined); err != nil {
			b.Fatal(err)
		}
		var looked struct{ Ticket shop.Ticket }
		if err := c.Call(b.Context(), look, map[string]any{"id": joined.JoinSale.Ticket.ID}, &looked); err != nil {
			b.Fatal(err)
		}
		if looked.Ticket.AdmissionToken == "" {
			b.Fatalf("not let in: %+v, %+v", joined, looked)
		}
		admissions = append(admissions, looked.Ticket.AdmissionToken)
	}
	return made.ID, admissions
}
