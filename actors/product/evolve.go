// Evolving: what an event makes of a product.
package product

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	"stampede/proto/gen/productpb"
)

// Evolve applies one event. It panics on one that cannot have been decided in
// this state: the journal is then corrupt.
func Evolve(s *State, e *productpb.Event) {
	switch x := e.Event.(type) {
	case *productpb.Event_Created:
		p := proto.CloneOf(x.Created.GetProduct())
		if s.product != nil || p.GetId() != s.id || p.GetVersion() != 1 {
			panic(corrupt(s, "created out of turn"))
		}
		s.product = p
	case *productpb.Event_Updated:
		if s.product == nil || s.configuring() {
			panic(corrupt(s, "updated out of turn"))
		}
		s.product = updated(s.product, x.Updated, e.AtMs)
	case *productpb.Event_SkusConfigured:
		if !s.configuring() || x.SkusConfigured.GetProductVersion() != s.product.Version+1 {
			panic(corrupt(s, "SKUs configured out of turn"))
		}
		s.product = skusConfigured(s.product, x.SkusConfigured)
	default:
		panic(corrupt(s, fmt.Sprintf("unknown event %T", e.Event)))
	}
}

func updated(before *productpb.Product, u *productpb.Updated, atMs int64) *productpb.Product {
	p := proto.CloneOf(before)
	p.Version++
	p.UpdatedAtMs = atMs
	p.Name, p.Description, p.ImageUrl, p.Published = u.Name, u.Description, u.ImageUrl, u.Published
	p.Retired = slices.DeleteFunc(p.Retired, func(v *productpb.Variant) bool { return find(u.Variants, v.Sku) != nil })
	p.Retiring = slices.Clone(u.Removed)
	for _, sku := range u.Removed {
		old := find(p.Variants, sku)
		if old == nil {
			panic(fmt.Sprintf("product %s is corrupt: removed SKU %s was no variant", p.Id, sku))
		}
		old.AttributesJson = "" // a retired SKU needs only what its configuration says
		p.Retired = append(p.Retired, old)
	}
	p.Variants = cloneVariants(u.Variants)
	p.Applied = append(p.Applied, &productpb.AppliedUpdate{CommandId: u.CommandId, Version: p.Version})
	if n := len(p.Applied); n > MaxAppliedUpdates {
		p.Applied = slices.Clone(p.Applied[n-MaxAppliedUpdates:])
	}
	return p
}

func skusConfigured(before *productpb.Product, c *productpb.SkusConfigured) *productpb.Product {
	p := proto.CloneOf(before)
	p.Version++
	p.ConfiguredVersion = p.Version
	p.Retiring = nil
	isLost := func(v *productpb.Variant) bool { return slices.Contains(c.Lost, v.Sku) }
	p.Variants = slices.DeleteFunc(p.Variants, isLost)
	p.Retired = slices.DeleteFunc(p.Retired, isLost)
	return p
}

func corrupt(s *State, why string) string {
	return fmt.Sprintf("product %s at version %d is corrupt: %s", s.id, s.version(), why)
}
