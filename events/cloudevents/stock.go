package cloudevents

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	"stampede/actors/entity"
	"stampede/proto/gen/eventspb"
	"stampede/proto/gen/skupb"
)

// mapSKU appends the record's events and, last, the SKU's newest level.
func (m *Mapper) mapSKU(dst []Message, rec *entity.Record, entries []entry) ([]Message, error) {
	stream := rec.Stream()
	room := m.room(stream, len(entries), stockDataBytes)
	var last event
	gone := false
	for i, entry := range entries {
		var e skupb.Event
		if err := proto.Unmarshal(entry.event, &e); err != nil {
			return dst, &entity.CorruptError{Stream: stream, Seq: rec.Seq, Reason: err.Error()}
		}
		version := rec.FirstVersion + uint64(i)
		level := stockLevel(rec.ID, version, &e)
		data := stockData(rec.ID, level, &e)
		if data == nil {
			return dst, fmt.Errorf("version %d: %w", version, ErrUnmapped)
		}
		msg, err := m.message(room, event{
			topic: TopicStock, stream: stream, key: rec.ID, version: version, atMs: e.AtMs, trace: entry.trace, data: data,
		})
		if err != nil {
			return dst, err
		}
		dst = append(dst, msg)
		gone = stillGone(gone, &e)
		last = event{topic: TopicStockLevels, stream: stream, key: rec.ID, version: version, atMs: e.AtMs, trace: entry.trace, data: level}
	}
	msg, err := m.message(m.room(stream, 1, usualDataBytes), last) // a level may wait longer than what is beside it
	if err != nil {
		return dst, err
	}
	if gone {
		msg.Value = nil
	}
	return append(dst, msg), nil
}

// stillGone follows, event by event, whether the SKU has been given up. Of an
// unclaimed one nothing but a release can be heard, in a record of its own.
func stillGone(gone bool, e *skupb.Event) bool {
	switch e := e.Event.(type) {
	case *skupb.Event_Unconfigured:
		return true
	case *skupb.Event_Configured:
		return false
	case *skupb.Event_ReleaseRemembered:
		return gone || e.ReleaseRemembered.GetUnclaimed()
	}
	return gone
}

func stockLevel(sku string, version uint64, e *skupb.Event) *eventspb.StockLevel {
	s := e.GetAfter()
	return &eventspb.StockLevel{
		Sku:       sku,
		OnHand:    s.GetAvailable() + s.GetHeld() + s.GetCommitted() + s.GetUnavailable(),
		Available: s.GetAvailable(), Held: s.GetHeld(), Committed: s.GetCommitted(), Unavailable: s.GetUnavailable(),
		Version: int64(version), AsOfMs: e.AtMs,
	}
}

// stockData is the published form of a SKU's event; nil: there is none.
func stockData(sku string, level *eventspb.StockLevel, e *skupb.Event) proto.Message {
	switch e := e.Event.(type) {
	case *skupb.Event_Configured:
		c := e.Configured
		return &eventspb.SkuConfigured{
			Sku: sku, ProductId: c.GetProductId(), Name: proto.String(c.GetName()), Price: money(c.GetPrice()), Active: c.GetActive(), Level: level,
		}
	case *skupb.Event_Unconfigured:
		return &eventspb.SkuConfigured{Sku: sku, ProductId: e.Unconfigured.GetProductId(), Level: level}
	case *skupb.Event_Adjusted:
		return &eventspb.StockAdjusted{Sku: sku, Delta: e.Adjusted.GetDelta(), Reason: e.Adjusted.GetReason(), Level: level}
	case *skupb.Event_MarkedUnavailable:
		return &eventspb.StockAdjusted{Sku: sku, Reason: e.MarkedUnavailable.GetReason(), Level: level}
	case *skupb.Event_Reserved:
		r := e.Reserved
		return &eventspb.StockReserved{
			Sku: sku, OrderId: r.GetOrderId(), Quantity: r.GetQuantity(), ExpiresAtMs: r.GetExpiresAtMs(), UnitPrice: money(r.GetUnitPrice()), Level: level,
		}
	case *skupb.Event_Released:
		r := e.Released
		return &eventspb.ReservationReleased{Sku: sku, OrderId: r.GetOrderId(), Quantity: r.GetQuantity(), Committed: r.GetCommitted(), Level: level}
	case *skupb.Event_ReleaseRemembered:
		return &eventspb.ReservationReleased{Sku: sku, OrderId: e.ReleaseRemembered.GetOrderId(), Level: level}
	case *skupb.Event_Expired:
		return &eventspb.ReservationExpired{Sku: sku, OrderId: e.Expired.GetOrderId(), Quantity: e.Expired.GetQuantity(), Level: level}
	case *skupb.Event_Confirmed:
		c := e.Confirmed
		return &eventspb.ReservationConfirmed{Sku: sku, OrderId: c.GetOrderId(), Quantity: c.GetQuantity(), Reacquired: c.GetReacquired(), Level: level}
	case *skupb.Event_Fulfilled:
		f := e.Fulfilled
		return &eventspb.ReservationFulfilled{Sku: sku, OrderId: f.GetOrderId(), Quantity: f.GetQuantity(), Level: level}
	case *skupb.Event_Returned:
		r := e.Returned
		return &eventspb.ReservationReturned{
			Sku: sku, OrderId: r.GetOrderId(), Committed: r.GetCommitted(), Fulfilled: r.GetFulfilled(), Restocked: r.GetRestocked(), Level: level,
		}
	case *skupb.Event_ReturnSettled:
		return &eventspb.ReservationReturnSettled{Sku: sku, OrderId: e.ReturnSettled.GetOrderId(), Level: level}
	case *skupb.Event_Shortfall:
		return &eventspb.StockShortfall{Sku: sku, Missing: e.Shortfall.GetMissing(), Reason: e.Shortfall.GetReason(), Level: level}
	case *skupb.Event_Depleted:
		return &eventspb.StockDepleted{Sku: sku, Level: level}
	case *skupb.Event_Replenished:
		return &eventspb.StockReplenished{Sku: sku, Level: level}
	case *skupb.Event_SaleConfigured:
		c := e.SaleConfigured.GetSale()
		return &eventspb.SkuSaleConfigured{
			Sku: sku, SaleId: c.GetSaleId(), StartsAtMs: c.GetStartsAtMs(), EndsAtMs: c.GetEndsAtMs(), SalePrice: money(c.GetPrice()), Allocation: c.GetAllocation(),
			PerCustomerLimit: c.GetPerCustomerLimit(), Paused: c.GetPaused(), Ended: c.GetEnded(), Level: level,
		}
	case *skupb.Event_SaleClosed:
		return &eventspb.SkuSaleClosed{Sku: sku, SaleId: e.SaleClosed.GetSaleId(), Level: level}
	case *skupb.Event_SaleReported:
		return &eventspb.SkuSaleReported{Sku: sku, SaleId: e.SaleReported.GetSaleId(), SoldOut: e.SaleReported.GetSoldOut(), Level: level}
	}
	return nil
}
