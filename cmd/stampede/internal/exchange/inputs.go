package exchange

// What is to be sent so that the shop has what a record says.

import (
	"bytes"
	"slices"

	"stampede/gateway/money"
	"stampede/gateway/scalar"
)

// incomplete says what a product that is to be made lacks.
func (r *Record) incomplete() *LineError {
	switch {
	case r.Name == nil:
		return r.wrong(-1, "name must be given: the shop has no such product yet")
	case len(r.Variants) == 0:
		return r.wrong(-1, "variants must be given: the shop has no such product yet")
	}
	for i := range r.Variants {
		if r.Variants[i].Price == nil {
			return r.wrong(i, "variants.%d.price must be given: the shop has no such SKU yet", i)
		}
	}
	return nil
}

// creation is the input that makes the product. Its key is of one run: what an
// earlier run has made is there already, and not made by this one.
func (r *Record) creation(run string) map[string]any {
	input := map[string]any{"idempotencyKey": "import/" + run + "/" + r.Slug, "slug": r.Slug, "name": *r.Name, "published": or(r.Published, true)}
	if text := filled(r.Description); text != nil {
		input["description"] = *text
	}
	if text := filled(r.ImageURL); text != nil {
		input["imageUrl"] = *text
	}
	variants := make([]map[string]any, len(r.Variants))
	for i := range r.Variants {
		variants[i] = r.Variants[i].input(true)
	}
	input["variants"] = variants
	return input
}

func (v *Variant) input(fresh bool) map[string]any {
	input := map[string]any{"sku": v.SKU, "price": map[string]any{"amount": v.Price.Amount, "currency": v.Price.Currency}}
	if text := filled(v.Name); text != nil {
		input["name"] = *text
	}
	if len(v.Attributes) > 0 {
		input["attributes"] = v.Attributes
	}
	if fresh && v.Stock != nil {
		input["initialStock"] = *v.Stock
	}
	return input
}

// update is the input that makes the product what the record says; nil when it is.
func (r *Record) update(there *stored) (input map[string]any, wrong *LineError, err error) {
	have, err := there.record()
	if err != nil {
		return nil, nil, err
	}
	input = map[string]any{}
	if r.Name != nil && *r.Name != *have.Name {
		input["name"] = *r.Name
	}
	if r.Description != nil && *r.Description != or(have.Description, "") {
		input["description"] = *r.Description
	}
	if r.ImageURL != nil && *r.ImageURL != or(have.ImageURL, "") {
		input["imageUrl"] = *r.ImageURL
	}
	if r.Published != nil && *r.Published != *have.Published {
		input["published"] = *r.Published
	}
	if len(r.Variants) > 0 {
		variants, same, wrong := r.merged(have)
		if wrong != nil {
			return nil, wrong, nil
		}
		if !same {
			input["variants"] = variants
		}
	}
	if len(input) == 0 {
		return nil, nil, nil
	}
	input["id"], input["ifVersion"] = there.ID, there.Version
	return input, nil, nil
}

// merged are the record's variants, with what it does not say as it is.
func (r *Record) merged(have *Record) (variants []map[string]any, same bool, wrong *LineError) {
	same = len(r.Variants) == len(have.Variants)
	for i := range r.Variants {
		v := r.Variants[i]
		at := slices.IndexFunc(have.Variants, func(o Variant) bool { return o.SKU == v.SKU })
		if at < 0 {
			if v.Price == nil {
				return nil, false, r.wrong(i, "variants.%d.price must be given: the product has no such SKU yet", i)
			}
			same = false
			variants = append(variants, v.input(true))
			continue
		}
		old := &have.Variants[at]
		if v.Name == nil {
			v.Name = old.Name
		}
		if v.Price == nil {
			v.Price = old.Price
		}
		if v.Attributes == nil {
			v.Attributes = old.Attributes
		}
		same = same && at == i && or(v.Name, "") == or(old.Name, "") && v.Price.equal(old.Price) && bytes.Equal(v.Attributes, old.Attributes)
		variants = append(variants, v.input(false))
	}
	return variants, same, nil
}

// equal reports the same amount, however it is written.
func (p *Price) equal(other *Price) bool {
	a, wrongA := money.Parse(scalar.Decimal(p.Amount), p.Currency)
	b, wrongB := money.Parse(scalar.Decimal(other.Amount), other.Currency)
	return wrongA == nil && wrongB == nil && a.GetMinorUnits() == b.GetMinorUnits() && p.Currency == other.Currency
}
