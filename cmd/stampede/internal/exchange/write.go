package exchange

import (
	"encoding/csv"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// Write writes products in order of their slugs, so that two shops with the
// same products have the same file.
func Write(out io.Writer, format string, records []*Record) error {
	slices.SortFunc(records, func(a, b *Record) int { return strings.Compare(a.Slug, b.Slug) })
	if format == CSV {
		return writeCSV(out, records)
	}
	for _, r := range records {
		line, err := encode(r)
		if err != nil {
			return fmt.Errorf("write product %s: %w", r.Slug, err)
		}
		if _, err := out.Write(append(line, '\n')); err != nil {
			return err
		}
	}
	return nil
}

func writeCSV(out io.Writer, records []*Record) error {
	w := csv.NewWriter(out)
	if err := w.Write(columns()); err != nil {
		return err
	}
	for _, r := range records {
		for i := range r.Variants {
			v := &r.Variants[i]
			price := or(v.Price, Price{})
			cells := []string{
				r.Slug, "", "", "", "", v.SKU, or(v.Name, ""), price.Amount, price.Currency, string(v.Attributes), strconv.FormatInt(or(v.Stock, 0), 10),
			}
			if i == 0 {
				cells[1], cells[2], cells[3], cells[4] = or(r.Name, ""), or(r.Description, ""), or(r.ImageURL, ""), strconv.FormatBool(or(r.Published, true))
			}
			if err := w.Write(cells); err != nil {
				return err
			}
		}
	}
	w.Flush()
	return w.Error()
}
