package exchange

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"stampede/cmd/stampede/internal/shop"
)

// Caller sends a document to the shop's API and decodes its data; it repeats
// the call while the shop says: later.
type Caller interface {
	Call(ctx context.Context, document string, variables map[string]any, into any) error
}

// What one request carries: the API takes ten root fields, and a body of 256 KiB.
const (
	batchProducts = 10
	batchBytes    = 160 << 10
	// exportPage is how many products one page has: small enough that a page of
	// products with 50 variants and long texts fits an answer.
	exportPage = 20

	// triesLater and laterWait bound how often single changes are sent again.
	triesLater = 20
	laterWait  = 100 * time.Millisecond
)

// stored is a product as the shop has it.
type stored struct {
	ID          string  `json:"id"`
	Version     int32   `json:"version"`
	Slug        string  `json:"slug"`
	Name        string  `json:"name"`
	Description *string `json:"description"`
	ImageURL    *string `json:"imageUrl"`
	Published   bool    `json:"published"`
	Variants    []struct {
		SKU        string          `json:"sku"`
		Name       *string         `json:"name"`
		Price      Price           `json:"price"`
		Attributes json.RawMessage `json:"attributes"`
		Stock      *struct {
			OnHand int64 `json:"onHand"`
		} `json:"stock"`
	} `json:"variants"`
}

const (
	storedFields = `id version slug name description imageUrl published variants{sku name price{amount currency} attributes`
	withStock    = storedFields + ` stock{onHand}}`
	withoutStock = storedFields + `}`
)

// record is the product as a file has it.
func (s *stored) record() (*Record, error) {
	r := &Record{Slug: s.Slug, Name: &s.Name, Description: filled(s.Description), ImageURL: filled(s.ImageURL), Published: &s.Published, Variants: make([]Variant, len(s.Variants))}
	for i := range s.Variants {
		v := &s.Variants[i]
		attributes, err := canonical(v.Attributes)
		if err != nil {
			return nil, fmt.Errorf("product %s: variant %s: attributes: %w", s.Slug, v.SKU, err)
		}
		r.Variants[i] = Variant{SKU: v.SKU, Name: filled(v.Name), Price: &v.Price, Attributes: attributes}
		if v.Stock != nil {
			r.Variants[i].Stock = &v.Stock.OnHand
		}
	}
	return r, nil
}

// filled leaves out what is empty.
func filled(s *string) *string {
	if s == nil || *s == "" {
		return nil
	}
	return s
}

// lookUp reads products by slug, at most batchProducts of them; nil for those
// that are not there.
func lookUp(ctx context.Context, c Caller, slugs []string, fields string) ([]*stored, error) {
	var document strings.Builder
	document.WriteString("query(")
	variables := make(map[string]any, len(slugs))
	for i, slug := range slugs {
		fmt.Fprintf(&document, "$s%d:String!", i)
		variables[fmt.Sprintf("s%d", i)] = slug
	}
	document.WriteString("){")
	for i := range slugs {
		fmt.Fprintf(&document, "p%d:product(slug:$s%d){%s}", i, i, fields)
	}
	document.WriteString("}")
	found := map[string]*stored{}
	if err := c.Call(ctx, document.String(), variables, &found); err != nil {
		return nil, fmt.Errorf("look products up: %w", err)
	}
	out := make([]*stored, len(slugs))
	for i := range slugs {
		out[i] = found[fmt.Sprintf("p%d", i)]
	}
	return out, nil
}

// change is one mutation to be sent along with others of its kind.
type change struct {
	input map[string]any
	// body is the input as it is sent.
	body json.RawMessage
	// refusals are what became of it: none, it is done.
	refusals []shop.UserError
}

// send sends the changes, several in a request, and again those that the shop
// wants sent again: they carry the same keys.
func send(ctx context.Context, c Caller, field, inputType string, changes []*change) error {
	open := changes
	for try := 0; len(open) > 0; try++ {
		var later []*change
		for rest := open; len(rest) > 0; {
			batch, err := nextBatch(rest)
			if err != nil {
				return err
			}
			rest = rest[len(batch):]
			if err := sendBatch(ctx, c, field, inputType, batch); err != nil {
				return fmt.Errorf("%s: %w", field, err)
			}
			for _, one := range batch {
				if slices.ContainsFunc(one.refusals, func(e shop.UserError) bool { return e.RetryAfterMs > 0 }) {
					later = append(later, one)
				}
			}
		}
		if open = later; len(open) == 0 || try == triesLater {
			return nil // what is still to be sent again is reported as refused
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(laterWait * time.Duration(try+1)):
		}
	}
	return nil
}

func nextBatch(changes []*change) ([]*change, error) {
	size := 0
	for i, one := range changes {
		if one.body == nil {
			var err error
			if one.body, err = json.Marshal(one.input); err != nil {
				return nil, fmt.Errorf("encode a change: %w", err)
			}
		}
		if size += len(one.body); i > 0 && size > batchBytes || i == batchProducts {
			return changes[:i], nil
		}
	}
	return changes, nil
}

func sendBatch(ctx context.Context, c Caller, field, inputType string, batch []*change) error {
	var document strings.Builder
	document.WriteString("mutation(")
	variables := make(map[string]any, len(batch))
	for i, one := range batch {
		fmt.Fprintf(&document, "$i%d:%s!", i, inputType)
		variables["i"+strconv.Itoa(i)] = one.body
	}
	document.WriteString("){")
	for i := range batch {
		fmt.Fprintf(&document, "m%d:%s(input:$i%d){userErrors{code message field ...on RetryLater{retryAfterMs}}}", i, field, i)
	}
	document.WriteString("}")
	answers := map[string]struct {
		UserErrors []shop.UserError `json:"userErrors"`
	}{}
	if err := c.Call(ctx, document.String(), variables, &answers); err != nil {
		return err
	}
	for i, one := range batch {
		answer, ok := answers[fmt.Sprintf("m%d", i)]
		if !ok {
			return fmt.Errorf("the answer lacks the outcome of change %d of %d", i+1, len(batch))
		}
		one.refusals = answer.UserErrors
	}
	return nil
}
