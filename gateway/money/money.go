// Package money turns the API's decimal strings into integer minor units and
// back. It does no arithmetic: that is the actors' business.
package money

import (
	"fmt"
	"strconv"
	"strings"

	"stampede/gateway/scalar"
	"stampede/proto/gen/commonpb"
)

// MaxMinorUnits bounds one price, so that 100 lines of 10,000 units each stay
// far below the range of int64.
const MaxMinorUnits = 1_000_000_000_000

// Money is the API's Money: an amount in minor units that is written as a
// decimal string with the currency's own number of decimals.
type Money struct {
	MinorUnits int64
	Currency   string
}

// noCurrency is ISO 4217's code for where there is none: a rejected order never
// had a price.
const noCurrency = "XXX"

// Of converts a price as the actors keep it; nil becomes no money at all.
func Of(m *commonpb.Money) Money {
	if m == nil {
		return Money{Currency: noCurrency}
	}
	return Money{MinorUnits: m.GetMinorUnits(), Currency: m.GetCurrency()}
}

// OfOptional is Of, but nil stays nil.
func OfOptional(m *commonpb.Money) *Money {
	if m == nil {
		return nil
	}
	v := Of(m)
	return &v
}

// Amount is the decimal string, e.g. "19.90". A currency that is not in the
// table (there is none among prices that Parse let in) is written with two decimals.
func (m Money) Amount() scalar.Decimal {
	var buf [24]byte
	return scalar.Decimal(m.appendAmount(buf[:0]))
}

// AppendField appends the JSON of a computed field: of the amount.
func (m *Money) AppendField(b []byte, field string) ([]byte, bool) {
	if field != "amount" {
		return b, false
	}
	b = append(b, '"')
	return append(m.appendAmount(b), '"'), true
}

func (m Money) appendAmount(b []byte) []byte {
	exponent, ok := Exponent(m.Currency)
	if !ok {
		exponent = 2
	}
	return appendDecimal(b, m.MinorUnits, exponent)
}

func appendDecimal(b []byte, minor int64, exponent int) []byte {
	magnitude := uint64(minor)
	if minor < 0 {
		b, magnitude = append(b, '-'), -magnitude
	}
	var buf [24]byte
	digits := strconv.AppendUint(buf[:0], magnitude, 10)
	if exponent == 0 {
		return append(b, digits...)
	}
	for len(digits) <= exponent { // at least one digit before the point
		digits = append(digits, 0)
		copy(digits[1:], digits)
		digits[0] = '0'
	}
	point := len(digits) - exponent
	b = append(append(b, digits[:point]...), '.')
	return append(b, digits[point:]...)
}

// Fault says which part of a price is wrong and what would be right.
type Fault struct {
	// Field is "amount" or "currency".
	Field   string
	Message string
}

// Parse reads a price. The fault is nil when the price is good.
func Parse(amount scalar.Decimal, currency string) (*commonpb.Money, *Fault) {
	exponent, ok := Exponent(currency)
	if !ok {
		return nil, &Fault{Field: "currency", Message: `must be an ISO 4217 code in capitals, such as "EUR"`}
	}
	minor, message := parseMinor(string(amount), exponent)
	if message != "" {
		return nil, &Fault{Field: "amount", Message: message}
	}
	return &commonpb.Money{MinorUnits: minor, Currency: currency}, nil
}

func parseMinor(s string, exponent int) (minor int64, fault string) {
	if strings.HasPrefix(s, "-") {
		return 0, "must not be negative"
	}
	whole, fraction, pointed := strings.Cut(s, ".")
	if !digits(whole) || (pointed && !digits(fraction)) {
		return 0, `must be a decimal string such as "19.90": digits and one point, no sign, exponent or separator`
	}
	if len(fraction) > exponent {
		if exponent == 0 {
			return 0, "must have no decimals: the currency has no minor unit"
		}
		return 0, fmt.Sprintf("must have at most %d decimals in this currency", exponent)
	}
	all := whole + fraction + strings.Repeat("0", exponent-len(fraction))
	minor, err := strconv.ParseInt(all, 10, 64)
	if err != nil || minor > MaxMinorUnits {
		return 0, "must be at most " + string(appendDecimal(nil, MaxMinorUnits, exponent))
	}
	return minor, ""
}

func digits(s string) bool {
	if s == "" {
		return false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}
