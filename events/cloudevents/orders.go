package cloudevents

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"

	"stampede/actors/entity"
	"stampede/actors/order"
	"stampede/proto/gen/commonpb"
	"stampede/proto/gen/eventspb"
	"stampede/proto/gen/orderpb"
)

func (m *Mapper) mapOrder(dst []Message, rec *entity.Record, entries []entry) ([]Message, error) {
	stream := rec.Stream()
	room := m.room(stream, len(entries), usualDataBytes)
	for i, entry := range entries {
		var e orderpb.Event
		if err := proto.Unmarshal(entry.event, &e); err != nil {
			return dst, &entity.CorruptError{Stream: stream, Seq: rec.Seq, Reason: err.Error()}
		}
		data := orderData(rec.ID, &e)
		if data == nil {
			return dst, fmt.Errorf("version %d: %w", rec.FirstVersion+uint64(i), ErrUnmapped)
		}
		msg, err := m.message(room, event{
			topic: TopicOrders, stream: stream, key: rec.ID, version: rec.FirstVersion + uint64(i), atMs: e.AtMs,
			trace: entry.trace, data: data,
		})
		if err != nil {
			return dst, err
		}
		dst = append(dst, msg)
	}
	return dst, nil
}

// orderData is the published form of an order's event; nil: there is none.
func orderData(id string, e *orderpb.Event) proto.Message {
	switch e := e.Event.(type) {
	case *orderpb.Event_Placed:
		return &eventspb.OrderPlaced{
			OrderId: id, Number: order.Number(id), CustomerId: e.Placed.GetCustomerId(), Lines: placedLines(e.Placed.GetLines()),
		}
	case *orderpb.Event_Reserved:
		return &eventspb.OrderReserved{
			OrderId: id, Total: money(e.Reserved.GetTotal()), ExpiresAtMs: e.Reserved.GetExpiresAtMs(), Lines: reservedLines(e.Reserved.GetLines()),
		}
	case *orderpb.Event_Rejected:
		return orderRejected(id, e.Rejected.GetRefusal())
	case *orderpb.Event_PaymentRequested:
		return &eventspb.PaymentRequested{OrderId: id, Attempt: e.PaymentRequested.GetAttempt(), Amount: money(e.PaymentRequested.GetAmount())}
	case *orderpb.Event_PaymentActionRequired:
		return &eventspb.PaymentActionRequired{OrderId: id, Attempt: e.PaymentActionRequired.GetAttempt(), Provider: e.PaymentActionRequired.GetProvider()}
	case *orderpb.Event_PaymentAuthorized:
		return &eventspb.PaymentAuthorized{
			OrderId: id, Attempt: e.PaymentAuthorized.GetAttempt(), Amount: money(e.PaymentAuthorized.GetAmount()), Provider: e.PaymentAuthorized.GetProvider(),
		}
	case *orderpb.Event_PaymentUnanswered:
		return &eventspb.PaymentUnanswered{OrderId: id, Attempt: e.PaymentUnanswered.GetAttempt()}
	case *orderpb.Event_PaymentDeclined:
		return &eventspb.PaymentDeclined{OrderId: id, Attempt: e.PaymentDeclined.GetAttempt(), Reason: e.PaymentDeclined.GetReason()}
	case *orderpb.Event_Confirmed:
		return &eventspb.OrderConfirmed{OrderId: id}
	case *orderpb.Event_PaymentCaptured:
		return &eventspb.PaymentCaptured{OrderId: id, Amount: money(e.PaymentCaptured.GetAmount())}
	case *orderpb.Event_PaymentVoided:
		return &eventspb.PaymentVoided{OrderId: id}
	case *orderpb.Event_Cancelled:
		return &eventspb.OrderCancelled{OrderId: id, Reason: e.Cancelled.GetReason()}
	case *orderpb.Event_Expired:
		return &eventspb.OrderExpired{OrderId: id}
	case *orderpb.Event_HoldsReleased:
		return &eventspb.OrderHoldsReleased{OrderId: id}
	}
	return moveData(id, e)
}

// moveData is the published form of what happens after an order was paid.
func moveData(id string, e *orderpb.Event) proto.Message {
	switch e := e.Event.(type) {
	case *orderpb.Event_Fulfilled:
		out := &eventspb.OrderFulfilled{OrderId: id, Lines: movedLines(e.Fulfilled.GetLines()), Complete: e.Fulfilled.GetComplete()}
		if e.Fulfilled.GetTracking() != "" {
			out.Tracking = proto.String(e.Fulfilled.GetTracking())
		}
		return out
	case *orderpb.Event_RefundRequested:
		return &eventspb.RefundRequested{OrderId: id, Amount: money(e.RefundRequested.GetAmount()), Lines: movedLines(e.RefundRequested.GetLines())}
	case *orderpb.Event_Refunded:
		r := e.Refunded
		return &eventspb.OrderRefunded{
			OrderId: id, Amount: money(r.GetAmount()), Lines: movedLines(r.GetLines()), Total: money(r.GetTotal()), Restock: r.GetRestock(), Reason: r.GetReason(),
		}
	case *orderpb.Event_RefundRefused:
		return &eventspb.RefundRefused{OrderId: id, Reason: e.RefundRefused.GetReason()}
	case *orderpb.Event_UnitsMoved:
		return &eventspb.OrderUnitsMoved{OrderId: id}
	case *orderpb.Event_ReturnSettled:
		return &eventspb.OrderReturnSettled{OrderId: id}
	}
	return nil
}

func movedLines(lines []*orderpb.MovedLine) []*eventspb.OrderLine {
	out := make([]*eventspb.OrderLine, len(lines))
	for i, l := range lines {
		out[i] = &eventspb.OrderLine{Sku: l.GetSku(), Quantity: l.GetQuantity()}
	}
	return out
}

func orderRejected(id string, r *commonpb.Refusal) proto.Message {
	out := &eventspb.OrderRejected{OrderId: id, Code: strings.TrimPrefix(r.GetReason().String(), "REASON_"), Message: r.GetMessage()}
	if r.GetSku() != "" {
		out.Sku = proto.String(r.GetSku())
	}
	return out
}

func placedLines(lines []*orderpb.PlaceLine) []*eventspb.OrderLine {
	out := make([]*eventspb.OrderLine, len(lines))
	for i, l := range lines {
		out[i] = &eventspb.OrderLine{Sku: l.GetSku(), Quantity: l.GetQuantity()}
	}
	return out
}

func reservedLines(lines []*orderpb.LineHold) []*eventspb.OrderLine {
	out := make([]*eventspb.OrderLine, len(lines))
	for i, l := range lines {
		out[i] = &eventspb.OrderLine{
			Sku: l.GetSku(), Name: proto.String(l.GetName()), Quantity: l.GetQuantity(),
			UnitPrice: money(l.GetUnitPrice()), SkuVersion: proto.Int64(l.GetSkuVersion()),
		}
	}
	return out
}

func money(m *commonpb.Money) *eventspb.Money {
	if m == nil {
		return nil
	}
	return &eventspb.Money{MinorUnits: m.MinorUnits, Currency: m.Currency}
}

// leaveOutNames drops the names of an event's lines or variants, and reports
// whether it had any.
func leaveOutNames(data proto.Message) bool {
	switch e := data.(type) {
	case *eventspb.OrderReserved:
		for _, l := range e.Lines {
			l.Name = nil
		}
		return len(e.Lines) > 0
	case *eventspb.ProductCreated:
		return leaveOutVariantNames(e.Variants)
	case *eventspb.ProductUpdated:
		return leaveOutVariantNames(e.Variants)
	}
	return false
}

func leaveOutVariantNames(variants []*eventspb.ProductVariant) bool {
	for _, v := range variants {
		v.Name = nil
	}
	return len(variants) > 0
}
