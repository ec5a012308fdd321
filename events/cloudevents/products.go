package cloudevents

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	"stampede/actors/entity"
	"stampede/proto/gen/eventspb"
	"stampede/proto/gen/productpb"
)

func (m *Mapper) mapProduct(dst []Message, rec *entity.Record, entries []entry) ([]Message, error) {
	stream := rec.Stream()
	room := m.room(stream, len(entries), usualDataBytes)
	for i, entry := range entries {
		var e productpb.Event
		if err := proto.Unmarshal(entry.event, &e); err != nil {
			return dst, &entity.CorruptError{Stream: stream, Seq: rec.Seq, Reason: err.Error()}
		}
		data := productData(rec.ID, &e)
		if data == nil {
			return dst, fmt.Errorf("version %d: %w", rec.FirstVersion+uint64(i), ErrUnmapped)
		}
		msg, err := m.message(room, event{
			topic: TopicProducts, stream: stream, key: rec.ID, version: rec.FirstVersion + uint64(i), atMs: e.AtMs,
			trace: entry.trace, data: data,
		})
		if err != nil {
			return dst, err
		}
		dst = append(dst, msg)
	}
	return dst, nil
}

// productData is the published form of a product's event; nil: there is none.
func productData(id string, e *productpb.Event) proto.Message {
	switch e := e.Event.(type) {
	case *productpb.Event_Created:
		p := e.Created.GetProduct()
		return &eventspb.ProductCreated{
			ProductId: id, Slug: p.GetSlug(), Name: p.GetName(), Published: p.GetPublished(), Variants: productVariants(p.GetVariants()),
		}
	case *productpb.Event_Updated:
		u := e.Updated
		return &eventspb.ProductUpdated{
			ProductId: id, Slug: u.GetSlug(), Name: u.GetName(), Published: u.GetPublished(), Variants: productVariants(u.GetVariants()),
		}
	case *productpb.Event_SkusConfigured:
		return &eventspb.ProductSkusConfigured{ProductId: id, ProductVersion: e.SkusConfigured.GetProductVersion()}
	}
	return nil
}

func productVariants(variants []*productpb.Variant) []*eventspb.ProductVariant {
	out := make([]*eventspb.ProductVariant, len(variants))
	for i, v := range variants {
		out[i] = &eventspb.ProductVariant{Sku: v.GetSku(), Name: proto.String(v.GetName()), Price: money(v.GetPrice())}
	}
	return out
}
