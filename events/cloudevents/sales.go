package cloudevents

import (
	"encoding/hex"
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"

	"stampede/actors/entity"
	"stampede/proto/gen/eventspb"
	"stampede/proto/gen/salepb"
)

func (m *Mapper) mapSale(dst []Message, rec *entity.Record, entries []entry) ([]Message, error) {
	stream := rec.Stream()
	room := m.room(stream, len(entries), usualDataBytes)
	for i, entry := range entries {
		var e salepb.Event
		if err := proto.Unmarshal(entry.event, &e); err != nil {
			return dst, &entity.CorruptError{Stream: stream, Seq: rec.Seq, Reason: err.Error()}
		}
		data := saleData(rec.ID, &e)
		if data == nil {
			return dst, fmt.Errorf("version %d: %w", rec.FirstVersion+uint64(i), ErrUnmapped)
		}
		msg, err := m.message(room, event{
			topic: TopicSales, stream: stream, key: rec.ID, version: rec.FirstVersion + uint64(i), atMs: e.AtMs, trace: entry.trace, data: data,
		})
		if err != nil {
			return dst, err
		}
		dst = append(dst, msg)
	}
	return dst, nil
}

// saleData is the published form of a sale's event; nil: there is none. The
// secret of a shuffle is only in the event that opens the sale.
func saleData(id string, e *salepb.Event) proto.Message {
	switch e := e.Event.(type) {
	case *salepb.Event_Drafted:
		return &eventspb.SaleDrafted{SaleId: id, Name: e.Drafted.GetName()}
	case *salepb.Event_Scheduled:
		return saleScheduled(id, e.Scheduled)
	case *salepb.Event_Rejected:
		r := e.Rejected.GetRefusal()
		return &eventspb.SaleRejected{SaleId: id, Code: strings.TrimPrefix(r.GetReason().String(), "REASON_"), Message: r.GetMessage()}
	case *salepb.Event_Opened:
		return &eventspb.SaleOpened{SaleId: id, Joined: e.Opened.GetJoinedEarly(), ShuffleSecret: optionalHex(e.Opened.GetShuffleSecret())}
	case *salepb.Event_Paused:
		return &eventspb.SalePaused{SaleId: id}
	case *salepb.Event_Resumed:
		return &eventspb.SaleResumed{SaleId: id}
	case *salepb.Event_Rescheduled:
		return &eventspb.SaleRescheduled{SaleId: id, StartsAtMs: e.Rescheduled.GetStartsAtMs(), EndsAtMs: e.Rescheduled.GetEndsAtMs()}
	case *salepb.Event_AdmissionChanged:
		return &eventspb.SaleAdmissionChanged{SaleId: id, AdmitPerSecond: e.AdmissionChanged.GetAdmitPerSecond()}
	case *salepb.Event_Ended:
		return &eventspb.SaleEnded{SaleId: id}
	case *salepb.Event_SkusConfigured:
		return &eventspb.SaleSkusConfigured{SaleId: id, ConfigVersion: e.SkusConfigured.GetConfigVersion()}
	case *salepb.Event_Joined:
		return &eventspb.SaleJoined{SaleId: id, CustomerId: e.Joined.GetCustomerId(), Number: e.Joined.GetNumber()}
	case *salepb.Event_StockReported:
		return saleReported(id, e.StockReported)
	}
	return nil
}

func saleScheduled(id string, s *salepb.Scheduled) proto.Message {
	out := &eventspb.SaleScheduled{
		SaleId: id, Name: s.GetName(), StartsAtMs: s.GetStartsAtMs(), EndsAtMs: s.GetEndsAtMs(),
		Admission: strings.TrimPrefix(s.GetAdmission().String(), "ADMISSION_"), ShuffleCommitment: optionalHex(s.GetShuffleCommitment()),
	}
	if s.GetPerCustomerLimit() > 0 {
		out.PerCustomerLimit = proto.Int64(s.GetPerCustomerLimit())
	}
	for _, item := range s.GetItems() {
		out.Items = append(out.Items, &eventspb.SaleItem{Sku: item.GetSku(), SalePrice: money(item.GetSalePrice()), Allocation: item.GetAllocation()})
	}
	return out
}

func saleReported(id string, r *salepb.StockReported) proto.Message {
	switch {
	case !r.GetChanged():
		return &eventspb.SaleItemReported{SaleId: id, Sku: r.GetSku(), SoldOut: r.GetSoldOut()}
	case r.GetSaleSoldOut():
		return &eventspb.SaleSoldOut{SaleId: id}
	}
	return &eventspb.SaleRestocked{SaleId: id}
}

func optionalHex(b []byte) *string {
	if len(b) == 0 {
		return nil
	}
	return proto.String(hex.EncodeToString(b))
}
