// Package exchange moves products between files and a shop: it reads and writes
// JSON Lines and CSV, says what is wrong in which line, and makes the shop's
// products what the file says. It knows the public API only, through Shop.
package exchange

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"stampede/actors/product"
	"stampede/gateway/money"
	"stampede/gateway/scalar"
	"stampede/proto/gen/productpb"
)

// Bounds of a file.
const (
	MaxProducts  = 1_000_000
	MaxLineBytes = 4 << 20
	// maxStock is the most that the API can be asked for.
	maxStock = product.MaxInitialStock
)

// Record is one product as a file has it. What is nil the file does not say:
// of a product that is there it stays as it is.
type Record struct {
	Slug        string    `json:"slug"`
	Name        *string   `json:"name,omitempty"`
	Description *string   `json:"description,omitempty"`
	ImageURL    *string   `json:"imageUrl,omitempty"`
	Published   *bool     `json:"published,omitempty"`
	Variants    []Variant `json:"variants,omitempty"`

	// Line is where the product begins in the file; lines has where each
	// variant is, when these have lines of their own.
	Line  int `json:"-"`
	lines []int
}

// Variant is one SKU of a product.
type Variant struct {
	SKU        string          `json:"sku"`
	Name       *string         `json:"name,omitempty"`
	Price      *Price          `json:"price,omitempty"`
	Attributes json.RawMessage `json:"attributes,omitempty"`
	// Stock is the units on hand.
	Stock *int64 `json:"stock,omitempty"`
}

// Price is a decimal string and an ISO 4217 code.
type Price struct {
	Amount   string `json:"amount"`
	Currency string `json:"currency"`
}

// LineError is something that is wrong in a line of a file, and what would be right.
type LineError struct {
	Line    int
	Slug    string
	Message string
}

// Error names the line first.
func (e *LineError) Error() string {
	if e.Slug == "" {
		return fmt.Sprintf("line %d: %s", e.Line, e.Message)
	}
	return fmt.Sprintf("line %d: product %q: %s", e.Line, e.Slug, e.Message)
}

func (r *Record) wrong(variant int, format string, args ...any) *LineError {
	line := r.Line
	if variant >= 0 && variant < len(r.lines) {
		line = r.lines[variant]
	}
	return &LineError{Line: line, Slug: r.Slug, Message: fmt.Sprintf(format, args...)}
}

// check says what is wrong with a record by itself: by the rules of the product
// actor, which are those that the server would refuse it by.
func (r *Record) check() *LineError {
	variants := make([]*productpb.Variant, len(r.Variants))
	for i := range r.Variants {
		v, wrong := r.variant(i)
		if wrong != nil {
			return wrong
		}
		variants[i] = v
	}
	id := product.ID(r.Slug)
	reply := decide(product.New(id), &productpb.Create{
		IdempotencyKey: "check", Slug: r.Slug, Name: or(r.Name, "unnamed"), Description: or(r.Description, ""), ImageUrl: or(r.ImageURL, ""),
		Variants: orSome(variants),
	})
	refusal := reply.GetRefusal()
	if refusal == nil {
		return nil
	}
	return r.refused(refusal.GetField(), refusal.GetMessage())
}

func decide(s *product.State, cmd *productpb.Create) *productpb.ProductReply {
	d := product.Decide(s, cmd, time.Time{}, nil)
	reply, _ := d.Reply.(*productpb.ProductReply) // nil: it is good, and would ask SKUs next
	return reply
}

// orSome stands in for the variants of a record that has none.
func orSome(variants []*productpb.Variant) []*productpb.Variant {
	if len(variants) > 0 {
		return variants
	}
	price, _ := money.Parse("0", "EUR")
	return []*productpb.Variant{{Sku: "x", Price: price}}
}

// refused is a refusal of the record, in the line of the variant that it is about.
func (r *Record) refused(field []string, message string) *LineError {
	variant := -1
	if len(field) > 1 && field[0] == "variants" {
		if _, err := fmt.Sscan(field[1], &variant); err != nil {
			variant = -1
		}
	}
	if len(field) > 0 {
		message = strings.Join(field, ".") + " " + message
	}
	return r.wrong(variant, "%s", message)
}

func (r *Record) variant(i int) (*productpb.Variant, *LineError) {
	v := &r.Variants[i]
	out := &productpb.Variant{Sku: v.SKU, Name: or(v.Name, ""), AttributesJson: string(v.Attributes)}
	price := v.Price
	if price == nil { // that of the variant that is there
		price = &Price{Amount: "0", Currency: "EUR"}
	}
	parsed, wrong := money.Parse(scalar.Decimal(price.Amount), price.Currency)
	if wrong != nil {
		return nil, r.wrong(i, "variants.%d.price.%s %s", i, wrong.Field, wrong.Message)
	}
	out.Price = parsed
	if v.Stock != nil {
		if *v.Stock < 0 || *v.Stock > maxStock {
			return nil, r.wrong(i, "variants.%d.stock must be 0 to %d", i, maxStock)
		}
		out.InitialStock = *v.Stock
	}
	return out, nil
}

func or[T any](p *T, otherwise T) T {
	if p == nil {
		return otherwise
	}
	return *p
}

// canonical is a JSON value with sorted keys and without spaces, so that equal
// values are equal bytes; empty for none and for null.
func canonical(raw json.RawMessage) (json.RawMessage, error) {
	if len(bytes.TrimSpace(raw)) == 0 {
		return nil, nil
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	if d.More() {
		return nil, fmt.Errorf("there is more than one value")
	}
	if v == nil {
		return nil, nil
	}
	return encode(v)
}

// encode is JSON as it is written to files: characters as they are.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
