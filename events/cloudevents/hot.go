package cloudevents

import (
	"strconv"

	"google.golang.org/protobuf/proto"

	"stampede/proto/gen/eventspb"
)

// The events of every order are written by hand: in a sale they are nearly all
// there is, and reading their fields by reflection took more than half of what
// mapping cost. The bytes are those of jsonEncoder, which a test holds them to;
// every other event is written by that.

// appendHot writes one of the frequent events; false: it is none.
func appendHot(b []byte, m proto.Message) ([]byte, bool) {
	switch e := m.(type) {
	case *eventspb.StockReserved:
		b = appendText(b, `{"sku":`, e.Sku)
		b = appendText(b, `,"orderId":`, e.OrderId)
		b = appendNumber(b, `,"quantity":`, e.Quantity)
		b = appendNumber(b, `,"expiresAtMs":`, e.ExpiresAtMs)
		b = appendMoney(b, `,"unitPrice":`, e.UnitPrice)
		b = appendLevel(b, `,"level":`, e.Level)
	case *eventspb.ReservationConfirmed:
		b = appendText(b, `{"sku":`, e.Sku)
		b = appendText(b, `,"orderId":`, e.OrderId)
		b = appendNumber(b, `,"quantity":`, e.Quantity)
		b = appendNumber(b, `,"reacquired":`, e.Reacquired)
		b = appendLevel(b, `,"level":`, e.Level)
	case *eventspb.StockLevel:
		return appendLevel(b, "", e), true
	default:
		return appendHotOrder(b, m)
	}
	return append(b, '}'), true
}

func appendHotOrder(b []byte, m proto.Message) ([]byte, bool) {
	switch e := m.(type) {
	case *eventspb.OrderPlaced:
		b = appendText(b, `{"orderId":`, e.OrderId)
		b = appendText(b, `,"number":`, e.Number)
		b = appendText(b, `,"customerId":`, e.CustomerId)
		b = appendLines(b, `,"lines":`, e.Lines)
	case *eventspb.OrderReserved:
		b = appendText(b, `{"orderId":`, e.OrderId)
		b = appendMoney(b, `,"total":`, e.Total)
		b = appendNumber(b, `,"expiresAtMs":`, e.ExpiresAtMs)
		b = appendLines(b, `,"lines":`, e.Lines)
	case *eventspb.PaymentRequested:
		b = appendText(b, `{"orderId":`, e.OrderId)
		b = appendNumber(b, `,"attempt":`, e.Attempt)
		b = appendMoney(b, `,"amount":`, e.Amount)
	case *eventspb.PaymentAuthorized:
		b = appendText(b, `{"orderId":`, e.OrderId)
		b = appendNumber(b, `,"attempt":`, e.Attempt)
		b = appendMoney(b, `,"amount":`, e.Amount)
		b = appendText(b, `,"provider":`, e.Provider)
	case *eventspb.PaymentCaptured:
		b = appendText(b, `{"orderId":`, e.OrderId)
		b = appendMoney(b, `,"amount":`, e.Amount)
	case *eventspb.OrderConfirmed:
		b = appendText(b, `{"orderId":`, e.OrderId)
	default:
		return b, false
	}
	return append(b, '}'), true
}

func appendText(b []byte, name, v string) []byte { return appendString(append(b, name...), v) }

func appendNumber(b []byte, name string, v int64) []byte {
	return strconv.AppendInt(append(b, name...), v, 10)
}

func appendMoney(b []byte, name string, m *eventspb.Money) []byte {
	if m == nil {
		return b
	}
	b = append(b, name...)
	b = appendNumber(b, `{"minorUnits":`, m.MinorUnits)
	b = appendText(b, `,"currency":`, m.Currency)
	return append(b, '}')
}

func appendLevel(b []byte, name string, l *eventspb.StockLevel) []byte {
	if l == nil {
		return b
	}
	b = append(b, name...)
	b = appendText(b, `{"sku":`, l.Sku)
	b = appendNumber(b, `,"onHand":`, l.OnHand)
	b = appendNumber(b, `,"available":`, l.Available)
	b = appendNumber(b, `,"held":`, l.Held)
	b = appendNumber(b, `,"committed":`, l.Committed)
	b = appendNumber(b, `,"unavailable":`, l.Unavailable)
	b = appendNumber(b, `,"version":`, l.Version)
	b = appendNumber(b, `,"asOfMs":`, l.AsOfMs)
	return append(b, '}')
}

func appendLines(b []byte, name string, lines []*eventspb.OrderLine) []byte {
	b = append(append(b, name...), '[')
	for i, l := range lines {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendText(b, `{"sku":`, l.GetSku())
		if l != nil && l.Name != nil {
			b = appendText(b, `,"name":`, *l.Name)
		}
		b = appendNumber(b, `,"quantity":`, l.GetQuantity())
		b = appendMoney(b, `,"unitPrice":`, l.GetUnitPrice())
		if l != nil && l.SkuVersion != nil {
			b = appendNumber(b, `,"skuVersion":`, *l.SkuVersion)
		}
		b = append(b, '}')
	}
	return append(b, ']')
}
