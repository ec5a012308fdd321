package main

// The lanes of the load generator: what its users ask for.

import (
	"context"
	"fmt"
	"time"

	"stampede/actors/sale"
	"stampede/cmd/stampede/internal/load"
	"stampede/cmd/stampede/internal/shop"
)

const (
	lanePlace = "place"
	lanePay   = "pay"
	laneSale  = "sale"
	laneRead  = "read"

	benchCard = "tok_ok"
	// benchSaleLasts is longer than any run.
	benchSaleLasts   = time.Hour
	benchOpensWithin = 5 * time.Second
)

// validateSaleLane: a sale has SKUs of its own, so somebody must make them.
func (c *benchCmd) validateSaleLane(wrong *faults, noStaff bool) {
	if len(c.UseSKUs) > 0 {
		wrong.add("use-skus", "is not for --lane sale, which makes a sale of SKUs of its own")
	}
	if noStaff {
		wrong.add("lane", "sale needs somebody who makes the sale: --staff-email or --signing-keys")
	}
	if c.SKUs > sale.MaxItems && !wrong.has("skus") {
		wrong.add("skus", "is %d; a sale has at most %d", c.SKUs, sale.MaxItems)
	}
}

// judge reads the lane's answers.
func (c *benchCmd) judge() load.Judge {
	switch c.Lane {
	case laneRead:
		return shop.JudgeCatalogue
	case lanePay:
		return shop.JudgePaid
	}
	return shop.JudgePlaced
}

// appendOrder appends the lane's request for one unit.
func (c *benchCmd) appendOrder(dst []byte, key, sku, saleID string) []byte {
	switch c.Lane {
	case lanePay:
		return shop.AppendPaidOrder(dst, key, sku, 1, benchCard)
	case laneSale:
		return shop.AppendSaleOrder(dst, key, sku, 1, saleID)
	}
	return shop.AppendPlaceOrder(dst, key, sku, 1)
}

// makeSale makes a sale that is open to all and that nobody can exhaust: its
// window, its allocation and each customer's limit are checked all the same.
func (c *benchCmd) makeSale(ctx context.Context, token string, skus []string) (string, error) {
	n := shop.NewSale{
		Key: "bench-" + skus[0], Name: "Bench " + skus[0], StartsAt: time.Now().Add(-time.Second), EndsAt: time.Now().Add(benchSaleLasts),
		PerCustomerLimit: sale.MaxPerCustomer, Admission: "OPEN_TO_ALL", Price: shop.Money{Amount: "9.90", Currency: "EUR"}, SKUs: skus, Allocation: map[string]int{},
	}
	for _, sku := range skus {
		n.Allocation[sku] = min(benchStock, sale.MaxAllocation)
	}
	client := shop.NewClient(c.URL, token)
	made, err := client.CreateSale(ctx, n)
	if err != nil {
		return "", err
	}
	return made.ID, untilOpen(ctx, client, made)
}

// untilOpen waits for a sale that has begun: it opens a moment after it is made.
func untilOpen(ctx context.Context, client *shop.Client, s *shop.Sale) error {
	ctx, cancel := context.WithTimeout(ctx, benchOpensWithin)
	defer cancel()
	ticker := time.NewTicker(benchOpensWithin / 100)
	defer ticker.Stop()
	for s.State != "OPEN" {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("the sale %s is %s and not OPEN: %w", s.ID, s.State, ctx.Err())
		}
		var err error
		if s, err = client.Sale(ctx, s.ID); err != nil {
			return err
		}
	}
	return nil
}
