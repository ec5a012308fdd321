package money_test

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"stampede/gateway/money"
	"stampede/gateway/scalar"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		amount, currency string
		minor            int64
		shown            string
	}{
		{"19.90", "EUR", 1990, "19.90"},
		{"19.9", "EUR", 1990, "19.90"},
		{"19", "EUR", 1900, "19.00"},
		{"0", "USD", 0, "0.00"},
		{"0.05", "GBP", 5, "0.05"},
		{"1500", "JPY", 1500, "1500"},
		{"1.234", "KWD", 1234, "1.234"},
		{"0.001", "TND", 1, "0.001"},
		{"10000000000.00", "EUR", 1_000_000_000_000, "10000000000.00"},
	} {
		m, fault := money.Parse(scalar.Decimal(c.amount), c.currency)
		if fault != nil || m.MinorUnits != c.minor || m.Currency != c.currency {
			t.Errorf("%s %s: %v, %v; want %d", c.amount, c.currency, m, fault, c.minor)
			continue
		}
		if got := money.Of(m).Amount(); string(got) != c.shown {
			t.Errorf("%s %s is shown as %s, want %s", c.amount, c.currency, got, c.shown)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, c := range []struct{ amount, currency, field string }{
		{"-1", "EUR", "amount"},
		{"-0", "EUR", "amount"},
		{"+1", "EUR", "amount"},
		{"1.999", "EUR", "amount"},
		{"1.0", "JPY", "amount"},
		{"1e2", "EUR", "amount"},
		{"1e400", "EUR", "amount"},
		{"NaN", "EUR", "amount"},
		{"Infinity", "EUR", "amount"},
		{"0x10", "EUR", "amount"},
		{"1,99", "EUR", "amount"},
		{"1_000", "EUR", "amount"},
		{" 1", "EUR", "amount"},
		{"1.", "EUR", "amount"},
		{".5", "EUR", "amount"},
		{"", "EUR", "amount"},
		{"١", "EUR", "amount"},
		{"10000000000.01", "EUR", "amount"},
		{strings.Repeat("9", 1000), "EUR", "amount"},
		{"1", "eur", "currency"},
		{"1", "XYZ", "currency"},
		{"1", "XAU", "currency"},
		{"1", "", "currency"},
		{"1", " EU", "currency"},
		{"1", "EUR ", "currency"},
	} {
		if m, fault := money.Parse(scalar.Decimal(c.amount), c.currency); fault == nil || fault.Field != c.field || m != nil {
			t.Errorf("%q %q: %v, %v; want %s to be at fault", c.amount, c.currency, m, fault, c.field)
		}
	}
}

// What is shown reads back as what it was.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		minor := rapid.Int64Range(0, money.MaxMinorUnits).Draw(t, "minor")
		currency := rapid.SampledFrom([]string{"EUR", "JPY", "KWD", "USD", "CLP", "BHD"}).Draw(t, "currency")
		shown := money.Money{MinorUnits: minor, Currency: currency}.Amount()
		m, fault := money.Parse(shown, currency)
		if fault != nil || m.MinorUnits != minor {
			t.Fatalf("%d %s is shown as %s and read as %v, %v", minor, currency, shown, m, fault)
		}
	})
}

func TestNegativeIsShown(t *testing.T) {
	for minor, want := range map[int64]string{-5: "-0.05", -1990: "-19.90", -1 << 63: "-92233720368547758.08"} {
		if got := (money.Money{MinorUnits: minor, Currency: "EUR"}).Amount(); string(got) != want {
			t.Errorf("%d is shown as %s, want %s", minor, got, want)
		}
	}
}
