package ledger

import (
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Type is what an event is called outside: the same name as on the topic of
// stock events.
func (e *Entry) Type() string {
	m := e.inner()
	if m == nil {
		return ""
	}
	name := string(m.Descriptor().Name())
	switch name {
	case "Configured", "Unconfigured":
		return "SkuConfigured"
	case "Adjusted", "MarkedUnavailable":
		return "StockAdjusted"
	case "Reserved", "Shortfall", "Depleted", "Replenished":
		return "Stock" + name
	case "Released", "ReleaseRemembered":
		return "ReservationReleased"
	case "Expired", "Confirmed", "Fulfilled", "Returned", "ReturnSettled":
		return "Reservation" + name
	case "SaleConfigured", "SaleClosed", "SaleReported":
		return "Sku" + name
	}
	return name
}

// Reference is the order that the event belongs to or, without one, the reason
// that was given; empty: neither.
func (e *Entry) Reference() string {
	m := e.inner()
	if m == nil {
		return ""
	}
	for _, name := range [...]protoreflect.Name{"order_id", "reason"} {
		if f := m.Descriptor().Fields().ByName(name); f != nil && f.Kind() == protoreflect.StringKind {
			return m.Get(f).String()
		}
	}
	return ""
}

// inner is the event's own message.
func (e *Entry) inner() protoreflect.Message {
	m := e.Event.ProtoReflect()
	f := m.WhichOneof(m.Descriptor().Oneofs().ByName("event"))
	if f == nil {
		return nil
	}
	return m.Get(f).Message()
}
