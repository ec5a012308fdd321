// Deciding: what a product makes of a command. Updates are in update.go, what
// is asked of SKUs in skus.go.
package product

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"time"

	"google.golang.org/protobuf/proto"

	"stampede/proto/gen/commonpb"
	"stampede/proto/gen/productpb"
)

// Ask is a question to a SKU that must be answered before the product can go
// on deciding. Two with the same key are one.
type Ask struct {
	Key     string
	Kind    string
	ID      string
	Command proto.Message
}

// Decision is what becomes of a command: a reply with the events it rests on,
// or asks, or only events (the command is then decided again, on the changed
// state), or nothing (it waits until the state changes).
type Decision struct {
	Events []*productpb.Event
	Reply  proto.Message
	Asks   []Ask
}

// Decide is total and changes nothing. heard is what the command's asks were
// answered so far, by key.
func Decide(s *State, cmd proto.Message, now time.Time, heard map[string]proto.Message) Decision {
	switch c := cmd.(type) {
	case *productpb.Create:
		return create(s, c, now, heard)
	case *productpb.Update:
		return update(s, c, now, heard)
	case *productpb.Get:
		if s.product == nil {
			return refuse(notFound())
		}
		return shown(s)
	case *commonpb.Continue:
		return configured(s, now, heard)
	case *commonpb.Tick:
		return Decision{}
	default:
		return refuse(invalid("a product knows no such command"))
	}
}

// create claims the SKUs, then creates, then waits until they are configured.
func create(s *State, c *productpb.Create, now time.Time, heard map[string]proto.Message) Decision {
	if r := validateCreate(s.id, c); r != nil {
		return refuse(r)
	}
	input := inputHash(c)
	if p := s.product; p != nil {
		switch {
		case p.IdempotencyKey != c.IdempotencyKey:
			return s.takeBack(heard, refuse(refusal(commonpb.Reason_REASON_CONFLICT, "there is a product with this slug already: choose another", "slug")))
		case !bytes.Equal(p.InputHash, input):
			return s.takeBack(heard, refuse(refusal(commonpb.Reason_REASON_IDEMPOTENCY_MISMATCH,
				"this key was used with another input: send the same input, or a new key", "idempotencyKey")))
		case p.ConfiguredVersion == 0:
			return s.takeBack(heard, Decision{})
		}
		return s.takeBack(heard, shown(s))
	}
	claims := claims(s, c.Name, c.Variants)
	if missing(claims, heard) {
		return Decision{Asks: claims}
	}
	if r := refusedClaim(claims, c.Variants, heard); r != nil {
		return s.takeBack(heard, refuse(r))
	}
	ms := now.UnixMilli()
	return Decision{Events: []*productpb.Event{{AtMs: ms, Event: &productpb.Event_Created{Created: &productpb.Created{
		ActorId: c.Actor.GetUserId(),
		Product: &productpb.Product{
			Id: s.id, Slug: c.Slug, Name: c.Name, Description: c.Description, ImageUrl: c.ImageUrl, Published: c.Published,
			Variants: cloneVariants(c.Variants), Version: 1, CreatedAtMs: ms, UpdatedAtMs: ms,
			IdempotencyKey: c.IdempotencyKey, InputHash: input,
		},
	}}}}}
}

func shown(s *State) Decision {
	return Decision{Reply: &productpb.ProductReply{Product: s.Product()}}
}

func refuse(r *commonpb.Refusal) Decision {
	return Decision{Reply: &productpb.ProductReply{Refusal: r}}
}

func refusal(reason commonpb.Reason, message string, field ...string) *commonpb.Refusal {
	return &commonpb.Refusal{Reason: reason, Message: message, Field: field}
}

func invalid(message string, field ...string) *commonpb.Refusal {
	return refusal(commonpb.Reason_REASON_INVALID, message, field...)
}

func notFound() *commonpb.Refusal {
	return refusal(commonpb.Reason_REASON_NOT_FOUND, "there is no such product", "id")
}

func cloneVariants(variants []*productpb.Variant) []*productpb.Variant {
	out := make([]*productpb.Variant, len(variants))
	for i, v := range variants {
		out[i] = proto.CloneOf(v)
	}
	return out
}

// inputHash identifies what a creation asks for, whoever asks. It is stored,
// so it rests on an encoding of its own and not on protobuf's, which may differ
// between releases: each field with its length before it.
func inputHash(c *productpb.Create) []byte {
	h := sha256.New()
	writeText(h, "create/1", c.Slug, c.Name, c.Description, c.ImageUrl)
	published := int64(0)
	if c.Published {
		published = 1
	}
	writeNumbers(h, published, int64(len(c.Variants)))
	for _, v := range c.Variants {
		writeVariant(h, v)
	}
	return h.Sum(nil)
}

func writeVariant(h hash.Hash, v *productpb.Variant) {
	writeText(h, v.Sku, v.Name, v.Price.GetCurrency(), v.AttributesJson)
	writeNumbers(h, v.Price.GetMinorUnits(), v.InitialStock)
}

func writeText(h hash.Hash, texts ...string) {
	for _, t := range texts {
		writeNumbers(h, int64(len(t)))
		h.Write([]byte(t))
	}
}

func writeNumbers(h hash.Hash, numbers ...int64) {
	var b [8]byte
	for _, n := range numbers {
		binary.BigEndian.PutUint64(b[:], uint64(n))
		h.Write(b[:])
	}
}
