// Package product is the product kind: a product's name, texts and variants,
// and how its SKUs come to sell by them. It is pure: no IO, no clock, no lock.
//
// A product owns its SKUs. It claims new ones first (inactive, so that nothing
// sells before the product exists), then records its contents, then configures
// every SKU by them. Contents change at odd event versions; the even version
// that follows is when all SKUs were told. A claim carries the odd version and
// a configuration the even one: a SKU ignores what is older than what it has,
// so a late or repeated claim never undoes a configuration.
package product

import (
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"

	"stampede/proto/gen/productpb"
)

// Name is the kind's name in addresses and streams.
const Name = "product"

// Bounds of a product.
const (
	MaxVariants = 50
	// MaxOwnedSKUs bounds the SKUs of a product over its whole life, with those
	// that are variants no longer.
	MaxOwnedSKUs                   = 500
	MaxSlugBytes                   = 100
	MaxNameCharacters              = 200
	MaxDescriptionCharacters       = 10_000
	MaxImageURLBytes               = 2_048
	MaxAttributesBytes             = 4_096
	MaxIdempotencyKeyBytes         = 255
	MaxCommandIDBytes              = 64
	MaxInitialStock          int64 = 1_000_000_000
	// MaxPriceMinorUnits keeps the total of the largest order (100 lines of
	// 10,000 units) within an int64.
	MaxPriceMinorUnits int64 = 1_000_000_000_000
	// MaxAppliedUpdates is how many updates are remembered to recognise a repeat.
	MaxAppliedUpdates = 64
)

// State is one product. It belongs to the actor's mailbox. The message in it
// is replaced by Evolve, never changed in place: snapshots may share it.
type State struct {
	id      string
	product *productpb.Product // nil before it was created
}

// New is the state of a product that does not exist yet.
func New(id string) *State { return &State{id: id} }

// ID is the identity of the product with the slug, which is what makes a slug
// unique: prd_ and the lower-case base32 of 16 bytes of SHA-256("product\0" + slug).
func ID(slug string) string {
	sum := sha256.Sum256([]byte("product\x00" + slug))
	return "prd_" + strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:16]))
}

// Product is a copy of the product as others may see it, nil before it was
// created.
func (s *State) Product() *productpb.Product {
	if s.product == nil {
		return nil
	}
	p := proto.CloneOf(s.product)
	p.IdempotencyKey, p.InputHash = "", nil
	p.Retired, p.Applied = nil, nil
	return p
}

// Snapshot is the state as a message; it shares memory with the state.
func Snapshot(s *State) proto.Message {
	if s.product == nil {
		return &productpb.Product{}
	}
	return s.product
}

// Restore rebuilds the state of the product id from a marshalled Snapshot.
func Restore(id string, snapshot []byte) (*State, error) {
	p := &productpb.Product{}
	if err := proto.Unmarshal(snapshot, p); err != nil {
		return nil, fmt.Errorf("restore product %s: %w", id, err)
	}
	if p.Id == "" && p.Version == 0 {
		return New(id), nil
	}
	if p.Id != id {
		return nil, fmt.Errorf("restore product %s: the snapshot is of %q", id, p.Id)
	}
	return &State{id: id, product: p}, nil
}

// configuring reports whether SKUs have yet to be told of the contents.
func (s *State) configuring() bool {
	return s.product != nil && s.product.ConfiguredVersion < s.product.Version
}

// owns reports whether the SKU is or was one of the product's variants.
func (s *State) owns(sku string) bool {
	if s.product == nil {
		return false
	}
	return find(s.product.Variants, sku) != nil || find(s.product.Retired, sku) != nil
}

func find(variants []*productpb.Variant, sku string) *productpb.Variant {
	for _, v := range variants {
		if v.Sku == sku {
			return v
		}
	}
	return nil
}
