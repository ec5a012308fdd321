package exchange

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// The columns of a CSV file: one row a variant. Those of the product are the
// same, or empty, in the rows that follow its first.
const (
	colSlug        = "slug"
	colName        = "name"
	colDescription = "description"
	colImageURL    = "imageUrl"
	colPublished   = "published"
	colSKU         = "sku"
	colVariantName = "variantName"
	colPrice       = "price"
	colCurrency    = "currency"
	colAttributes  = "attributes"
	colStock       = "stock"
)

func columns() []string {
	return []string{colSlug, colName, colDescription, colImageURL, colPublished, colSKU, colVariantName, colPrice, colCurrency, colAttributes, colStock}
}

// row is one row by column. A column that the file does not have is absent.
type row struct {
	line  int
	cells map[string]string
}

func (r *row) optional(column string) *string {
	if text, ok := r.cells[column]; ok {
		return &text
	}
	return nil
}

// readCSV groups rows into products.
func readCSV(in io.Reader, take func(*Record, *LineError) error) error {
	rows := &rowReader{in: bufio.NewReader(in), line: 1}
	header, err := rows.header()
	if err != nil {
		return err
	}
	var record *Record
	var first *row
	var fault *LineError
	flush := func() error {
		if record == nil {
			return nil
		}
		return take(record, fault)
	}
	for {
		r, err := rows.next(header)
		if errors.Is(err, io.EOF) {
			return flush()
		}
		if err != nil {
			return errors.Join(flush(), err)
		}
		if record == nil || r.cells[colSlug] != record.Slug {
			if err := flush(); err != nil {
				return err
			}
			first = r
			record, fault = productOf(r)
		} else if fault == nil {
			fault = sameProduct(record, first, r)
		}
		if fault == nil {
			fault = record.addVariant(r)
		}
	}
}

// productOf is the product of its first row.
func productOf(r *row) (*Record, *LineError) {
	record := &Record{Slug: r.cells[colSlug], Line: r.line, Name: r.optional(colName), Description: r.optional(colDescription), ImageURL: r.optional(colImageURL)}
	if text, ok := r.cells[colPublished]; ok && text != "" {
		published, err := strconv.ParseBool(strings.ToLower(text))
		if err != nil {
			return record, record.wrong(-1, "published must be true or false, not %q", text)
		}
		record.Published = &published
	}
	return record, nil
}

// sameProduct says what a later row of a product says otherwise than the first.
func sameProduct(record *Record, first, r *row) *LineError {
	for _, column := range [...]string{colName, colDescription, colImageURL, colPublished} {
		if text := r.cells[column]; text != "" && text != first.cells[column] {
			return &LineError{Line: r.line, Slug: record.Slug, Message: fmt.Sprintf("%s is %q in line %d: leave it empty here, or the same", column, first.cells[column], first.line)}
		}
	}
	return nil
}

func (r *Record) addVariant(in *row) *LineError {
	sku, has := in.cells[colSKU]
	if !has {
		if len(r.lines) > 0 {
			return r.wrong(-1, "is in line %d again: without a column sku a product has one row", in.line)
		}
		r.lines = append(r.lines, in.line)
		return nil
	}
	i := len(r.Variants)
	r.lines = append(r.lines, in.line)
	v := Variant{SKU: sku, Name: in.optional(colVariantName)}
	amount, currency := in.cells[colPrice], in.cells[colCurrency]
	if amount != "" || currency != "" {
		v.Price = &Price{Amount: amount, Currency: currency}
	}
	if text, ok := in.cells[colAttributes]; ok {
		raw, err := canonical(json.RawMessage(text))
		if err != nil {
			return r.wrong(i, "attributes must be a JSON object such as {\"colour\":\"blue\"}, or empty: %v", err)
		}
		v.Attributes = append(json.RawMessage{}, raw...)
	}
	if text := in.cells[colStock]; text != "" {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return r.wrong(i, "stock must be a whole number, not %q", text)
		}
		v.Stock = &n
	}
	r.Variants = append(r.Variants, v)
	return nil
}

// rowReader reads rows as RFC 4180 has them, with line breaks of either kind.
// Unlike encoding/csv it leaves line breaks within quotes as they are: a text
// comes back as it was written.
type rowReader struct {
	in   *bufio.Reader
	line int
}

func (r *rowReader) header() ([]string, error) {
	if mark, err := r.in.Peek(len(byteOrderMark)); err == nil && string(mark) == string(byteOrderMark) {
		_, _ = r.in.Discard(len(byteOrderMark)) // it was just peeked at
	}
	names, _, err := r.row()
	if errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("line 1: the first row must name the columns: %s", strings.Join(columns(), ","))
	}
	if err != nil {
		return nil, err
	}
	for i, name := range names {
		names[i] = strings.TrimSpace(name)
		if !slices.Contains(columns(), names[i]) {
			return nil, fmt.Errorf("line 1: there is no column %q: there are %s", names[i], strings.Join(columns(), ","))
		}
		if slices.Contains(names[:i], names[i]) {
			return nil, fmt.Errorf("line 1: the column %s is there twice", names[i])
		}
	}
	if !slices.Contains(names, colSlug) {
		return nil, errors.New("line 1: a column slug is needed: it is what products are known by")
	}
	return names, nil
}

func (r *rowReader) next(header []string) (*row, error) {
	for {
		cells, line, err := r.row()
		if err != nil {
			return nil, err
		}
		if len(cells) == 1 && cells[0] == "" {
			continue // an empty line
		}
		if len(cells) != len(header) {
			return nil, fmt.Errorf("line %d: has %d cells, the first row names %d columns", line, len(cells), len(header))
		}
		out := &row{line: line, cells: make(map[string]string, len(cells))}
		for i, name := range header {
			out.cells[name] = cells[i]
		}
		return out, nil
	}
}

// row reads cells up to the end of a row, and says in which line it begins.
func (r *rowReader) row() (cells []string, line int, err error) {
	line = r.line
	size := 0
	for {
		cell, end, err := r.cell(&size)
		if err != nil {
			return nil, line, err
		}
		if end == endOfFile && len(cells) == 0 && cell == "" {
			return nil, line, io.EOF
		}
		cells = append(cells, cell)
		if end != endOfCell {
			return cells, line, nil
		}
	}
}

type cellEnd int

const (
	endOfCell cellEnd = iota
	endOfRow
	endOfFile
)

// cell reads one cell and what ended it.
func (r *rowReader) cell(size *int) (string, cellEnd, error) {
	var b strings.Builder
	quoted, opened := false, false
	for {
		c, err := r.in.ReadByte()
		if errors.Is(err, io.EOF) {
			if quoted {
				return "", 0, fmt.Errorf("line %d: a quote is not closed", r.line)
			}
			return b.String(), endOfFile, nil
		}
		if err != nil {
			return "", 0, err
		}
		if *size++; *size > MaxLineBytes {
			return "", 0, fmt.Errorf("line %d: a row has at most %d bytes", r.line, MaxLineBytes)
		}
		if c == '\n' {
			r.line++
		}
		switch {
		case quoted && c == '"':
			if next, err := r.in.Peek(1); err == nil && next[0] == '"' {
				_, _ = r.in.Discard(1) // it was just peeked at
				b.WriteByte('"')
				continue
			}
			quoted = false
		case quoted:
			b.WriteByte(c)
		case c == ',':
			return b.String(), endOfCell, nil
		case c == '\n':
			return b.String(), endOfRow, nil
		case c == '\r' && r.before('\n'):
		case c == '"' && b.Len() == 0 && !opened:
			quoted, opened = true, true
		case c == '"' || opened:
			return "", 0, fmt.Errorf("line %d: a cell with a quote in it must be in quotes, the inner ones doubled", r.line)
		default:
			b.WriteByte(c)
		}
	}
}

func (r *rowReader) before(c byte) bool {
	next, err := r.in.Peek(1)
	return err == nil && next[0] == c
}
