package order

import (
	"crypto/sha256"
	"encoding/binary"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"stampede/proto/gen/commonpb"
	"stampede/proto/gen/orderpb"
)

// checkPlace is why a Place cannot be decided at all. The gateway has refused
// such input before; an order never trusts that it has.
func checkPlace(c *orderpb.Place) *commonpb.Refusal {
	switch {
	case !text(c.GetCustomerId(), maxIDBytes):
		return refuse(commonpb.Reason_REASON_INVALID, "an order has a customer", "customerId")
	case !text(c.GetIdempotencyKey(), maxKeyBytes):
		return badKey()
	case len(c.GetLines()) < 1 || len(c.GetLines()) > MaxLines:
		return refuse(commonpb.Reason_REASON_INVALID, "an order has 1 to "+strconv.Itoa(MaxLines)+" lines", "lines")
	case c.GetHoldMs() < 1 || c.GetHoldMs() > MaxHold.Milliseconds():
		return refuse(commonpb.Reason_REASON_INVALID, "units are held for 1 to "+strconv.FormatInt(MaxHold.Milliseconds(), 10)+" milliseconds", "holdMs")
	case c.GetPaymentToken() != "" && !text(c.GetPaymentToken(), maxTokenBytes):
		return badToken()
	case c.GetSaleId() != "" && !text(c.GetSaleId(), maxIDBytes):
		return refuse(commonpb.Reason_REASON_INVALID, "a sale's id has 1 to "+strconv.Itoa(maxIDBytes)+" bytes without control characters", "saleId")
	}
	seen := make(map[string]int, len(c.GetLines()))
	for i, l := range c.GetLines() {
		if r := checkLine(l); r != nil {
			return ofLine(r, i)
		}
		if first, twice := seen[l.GetSku()]; twice {
			return ofLine(refuse(commonpb.Reason_REASON_INVALID, "a SKU is there once: line "+strconv.Itoa(first)+" has it too", "sku"), i)
		}
		seen[l.GetSku()] = i
	}
	return nil
}

func checkLine(l *orderpb.PlaceLine) *commonpb.Refusal {
	price := l.GetExpectedPrice()
	switch {
	case !validSKU(l.GetSku()):
		return refuse(commonpb.Reason_REASON_INVALID, "a SKU has 1 to 64 letters, digits, '-' and '_'", "sku")
	case l.GetQuantity() < 1 || l.GetQuantity() > MaxQuantity:
		return refuse(commonpb.Reason_REASON_INVALID, "quantity is between 1 and "+strconv.Itoa(MaxQuantity), "quantity")
	case price != nil && (price.GetMinorUnits() < 0 || len(price.GetCurrency()) != 3):
		return refuse(commonpb.Reason_REASON_INVALID, "a price is at least 0, in an ISO 4217 currency", "expectedPrice")
	}
	return nil
}

func checkPay(c *orderpb.Pay) *commonpb.Refusal {
	switch {
	case !text(c.GetIdempotencyKey(), maxKeyBytes):
		return badKey()
	case !text(c.GetPaymentToken(), maxTokenBytes):
		return badToken()
	}
	return nil
}

// checkMove is why a Fulfil or Refund cannot be decided at all.
func checkMove(key, words string, most int, field string) *commonpb.Refusal {
	switch {
	case !text(key, maxKeyBytes):
		return badKey()
	case runes(words) > most || !utf8.ValidString(words):
		return refuse(commonpb.Reason_REASON_INVALID, field+" has at most "+strconv.Itoa(most)+" characters", field)
	}
	return nil
}

// checkStaff: an order is fulfilled and refunded by the staff alone.
func (s *State) checkStaff(a *commonpb.Actor) *commonpb.Refusal {
	switch {
	case !s.visibleTo(a):
		return notFound()
	case !a.GetStaff():
		return refuse(commonpb.Reason_REASON_FORBIDDEN, "only the shop's staff does this")
	}
	return nil
}

func badKey() *commonpb.Refusal {
	return refuse(commonpb.Reason_REASON_INVALID, "an idempotency key has 1 to "+strconv.Itoa(maxKeyBytes)+" bytes without control characters", "idempotencyKey")
}

func badToken() *commonpb.Refusal {
	return refuse(commonpb.Reason_REASON_INVALID, "a payment token has 1 to "+strconv.Itoa(maxTokenBytes)+" bytes without control characters", "paymentToken")
}

// text reports 1 to most bytes of UTF-8 without control characters.
func text(s string, most int) bool {
	return s != "" && len(s) <= most && utf8.ValidString(s) && strings.IndexFunc(s, unicode.IsControl) < 0
}

func runes(s string) int { return utf8.RuneCountInString(s) }

// validSKU reports [A-Za-z0-9_-]{1,64}.
func validSKU(id string) bool {
	for i := range len(id) {
		c := id[i]
		if c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return id != "" && len(id) <= maxIDBytes
}

// placeHash is the SHA-256 of what the customer asked for. How long units are
// held is the shop's business and not part of it.
func placeHash(c *orderpb.Place) []byte {
	b := make([]byte, 0, 256)
	b = appendText(b, c.GetCustomerId(), c.GetIdempotencyKey(), c.GetPaymentToken())
	for _, l := range c.GetLines() {
		b = appendText(b, l.GetSku(), l.GetExpectedPrice().GetCurrency())
		b = binary.AppendVarint(b, l.GetQuantity())
		b = binary.AppendVarint(b, l.GetExpectedPrice().GetMinorUnits())
	}
	if c.GetSaleId() != "" { // without one the hash is what it was before there were sales
		b = appendText(b, "sale", c.GetSaleId())
	}
	sum := sha256.Sum256(b)
	return sum[:]
}

// payHash is the SHA-256 of a payment's input.
func payHash(token string) []byte {
	sum := sha256.Sum256(appendText(nil, "pay", token))
	return sum[:]
}

// moveHash is the SHA-256 of a fulfilment's or refund's input.
func moveHash(what, words string, restock bool, lines []*orderpb.LineQuantity) []byte {
	b := appendText(nil, what, words, strconv.FormatBool(restock))
	for _, l := range lines {
		b = appendText(b, l.GetSku())
		b = binary.AppendVarint(b, l.GetQuantity())
	}
	sum := sha256.Sum256(b)
	return sum[:]
}

func appendText(b []byte, texts ...string) []byte {
	for _, t := range texts {
		b = binary.AppendUvarint(b, uint64(len(t)))
		b = append(b, t...)
	}
	return b
}
