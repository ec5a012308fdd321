// What a product asks of its SKUs: claims before it commits to them, taking
// claims back, and configuring all of them by what was committed.
package product

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"stampede/proto/gen/commonpb"
	"stampede/proto/gen/productpb"
	"stampede/proto/gen/skupb"
)

const skuKind = "sku"

// maxSKUNameCharacters bounds the name that a SKU, and so an order's line, shows.
const maxSKUNameCharacters = 200

// claims asks every SKU among the variants that is not the product's yet to
// belong to it, inactive.
func claims(s *State, name string, variants []*productpb.Variant) []Ask {
	version := s.version() + 1
	var asks []Ask
	for _, v := range variants {
		if s.owns(v.Sku) {
			continue
		}
		h := sha256.New()
		writeText(h, name)
		writeVariant(h, v)
		asks = append(asks, Ask{
			// The contents are in the key: what two commands ask at the same time is one ask only if it is the same.
			Key:  fmt.Sprintf("claim/%d/%s/%x", version, v.Sku, h.Sum(nil)[:8]),
			Kind: skuKind, ID: v.Sku,
			Command: configure(s.id, version, name, v, false),
		})
	}
	return asks
}

// refusedClaim is the first refusal among the answers to claims, about the
// variant's place in the input.
func refusedClaim(claims []Ask, variants []*productpb.Variant, heard map[string]proto.Message) *commonpb.Refusal {
	for _, a := range claims {
		reply, ok := heard[a.Key].(*skupb.ConfigureReply)
		if ok && reply.Refusal == nil {
			continue
		}
		i := slices.IndexFunc(variants, func(v *productpb.Variant) bool { return v.Sku == a.ID })
		field := []string{"variants", strconv.Itoa(i), "sku"}
		if !ok {
			return invalid("SKU "+a.ID+" cannot be configured", field...)
		}
		r := proto.CloneOf(reply.Refusal)
		r.Field = field
		if r.Reason == commonpb.Reason_REASON_CONFLICT {
			r.Message = "SKU " + a.ID + " belongs to another product: choose another"
		}
		return r
	}
	return nil
}

// takeBack is what becomes of a command that does not commit to what it
// claimed: it gives those SKUs back first. Then it is what then says.
func (s *State) takeBack(heard map[string]proto.Message, then Decision) Decision {
	var asks []Ask
	for key, reply := range heard {
		parts := strings.Split(key, "/")
		claimed, ok := reply.(*skupb.ConfigureReply)
		if parts[0] != "claim" || len(parts) != 4 || !ok || claimed.Refusal != nil || s.owns(parts[2]) {
			continue
		}
		version, err := strconv.ParseInt(parts[1], 10, 64)
		if err != nil {
			continue
		}
		a := Ask{
			Key: "unclaim/" + parts[1] + "/" + parts[2], Kind: skuKind, ID: parts[2],
			Command: &skupb.Unconfigure{ProductId: s.id, ProductVersion: version},
		}
		// A refusal is as good as an answer: the SKU is then not ours to give back.
		if _, done := heard[a.Key]; !done {
			asks = append(asks, a)
		}
	}
	if len(asks) == 0 {
		return then
	}
	slices.SortFunc(asks, func(a, b Ask) int { return strings.Compare(a.Key, b.Key) })
	return Decision{Asks: asks}
}

// Pending asks every SKU to sell by the committed contents, and those that are
// variants no longer to stop.
func Pending(s *State) []Ask {
	if !s.configuring() {
		return nil
	}
	p := s.product
	version := p.Version + 1
	asks := make([]Ask, 0, len(p.Variants)+len(p.Retiring))
	for _, v := range p.Variants {
		asks = append(asks, configuration(s.id, version, p.Name, v, p.Published))
	}
	for _, sku := range p.Retiring {
		asks = append(asks, configuration(s.id, version, p.Name, find(p.Retired, sku), false))
	}
	return asks
}

// configured takes in the answers to Pending. A SKU that another product has
// come to own is lost; any other refusal is passing, and the SKU is asked again.
func configured(s *State, now time.Time, heard map[string]proto.Message) Decision {
	asks := Pending(s)
	if len(asks) == 0 {
		return Decision{}
	}
	var lost []string
	for _, a := range asks {
		reply, ok := heard[a.Key].(*skupb.ConfigureReply)
		switch {
		case !ok:
			return Decision{}
		case reply.Refusal == nil:
		case reply.Refusal.Reason == commonpb.Reason_REASON_CONFLICT:
			lost = append(lost, a.ID)
		default:
			return Decision{}
		}
	}
	return Decision{Events: []*productpb.Event{{AtMs: now.UnixMilli(), Event: &productpb.Event_SkusConfigured{
		SkusConfigured: &productpb.SkusConfigured{ProductVersion: s.product.Version + 1, Lost: lost},
	}}}}
}

func configuration(id string, version int64, name string, v *productpb.Variant, active bool) Ask {
	return Ask{
		Key:  fmt.Sprintf("configure/%d/%s", version, v.Sku),
		Kind: skuKind, ID: v.Sku,
		Command: configure(id, version, name, v, active),
	}
}

func configure(id string, version int64, name string, v *productpb.Variant, active bool) *skupb.Configure {
	return &skupb.Configure{
		ProductId: id, ProductVersion: version, Name: skuName(name, v.Name),
		Price: proto.CloneOf(v.Price), Active: active, InitialStock: v.InitialStock,
	}
}

// skuName is what an order's line shows: the product's name and the variant's.
func skuName(product, variant string) string {
	name := product
	if variant != "" {
		name += ", " + variant
	}
	if runes := []rune(name); len(runes) > maxSKUNameCharacters {
		return string(runes[:maxSKUNameCharacters])
	}
	return name
}

func missing(asks []Ask, heard map[string]proto.Message) bool {
	return slices.ContainsFunc(asks, func(a Ask) bool { _, ok := heard[a.Key]; return !ok })
}

func (s *State) version() int64 { return s.product.GetVersion() }
