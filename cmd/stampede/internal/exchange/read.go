package exchange

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
)

// Formats of files.
const (
	JSONLines = "jsonl"
	CSV       = "csv"
)

// FormatOf is a file's format by its name; empty: it does not say.
func FormatOf(path string) string {
	switch strings.ToLower(filepath.Ext(path)) {
	case ".csv":
		return CSV
	case ".jsonl", ".ndjson", ".json":
		return JSONLines
	}
	return ""
}

// maxListed is how many wrong lines are named before reading is given up.
const maxListed = 100

// ErrTooMany: there were more wrong lines than are listed.
var ErrTooMany = fmt.Errorf("there are more than %d wrong lines: only the first are listed", maxListed)

// Read reads a whole file. wrong lists what is wrong in it, by line; err is for
// a file that cannot be read on.
func Read(in io.Reader, format string) (records []*Record, wrong []*LineError, err error) {
	c := &checker{slugs: map[string]int{}, skus: map[string]int{}}
	in = bufio.NewReaderSize(in, 1<<16)
	if format == CSV {
		err = readCSV(in, c.take)
	} else {
		err = readLines(in, c.take)
	}
	return c.records, c.wrong, err
}

// checker takes records one by one. A slug and a SKU are in a file once.
type checker struct {
	records     []*Record
	wrong       []*LineError
	slugs, skus map[string]int
}

func (c *checker) take(r *Record, fault *LineError) error {
	if fault == nil {
		fault = c.repeated(r)
	}
	if fault == nil {
		fault = r.check()
	}
	if fault == nil {
		fault = c.claimed(r)
	}
	if fault != nil {
		if len(c.wrong) == maxListed {
			return ErrTooMany
		}
		c.wrong = append(c.wrong, fault)
		return nil
	}
	if len(c.records) == MaxProducts {
		return fmt.Errorf("line %d: a file has at most %d products: split it", r.Line, MaxProducts)
	}
	c.records = append(c.records, r)
	return nil
}

func (c *checker) repeated(r *Record) *LineError {
	if line, ok := c.slugs[r.Slug]; ok {
		return r.wrong(-1, "the slug is in line %d already: a product is in a file once, its variants together", line)
	}
	if r.Slug != "" {
		c.slugs[r.Slug] = r.Line
	}
	return nil
}

func (c *checker) claimed(r *Record) *LineError {
	for i := range r.Variants {
		sku := r.Variants[i].SKU
		if line, ok := c.skus[sku]; ok {
			return r.wrong(i, "variants.%d.sku %q is in line %d already: a SKU belongs to one product", i, sku, line)
		}
		c.skus[sku] = r.Line
		if i < len(r.lines) {
			c.skus[sku] = r.lines[i]
		}
	}
	return nil
}

// readLines reads JSON Lines: one product a line; empty lines do not count.
func readLines(in io.Reader, take func(*Record, *LineError) error) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 1<<16), MaxLineBytes)
	n := 0
	for lines.Scan() {
		n++
		text := lines.Bytes()
		if n == 1 {
			text = bytes.TrimPrefix(text, byteOrderMark)
		}
		if len(bytes.TrimSpace(text)) == 0 {
			continue
		}
		r, fault := parseLine(text, n)
		if err := take(r, fault); err != nil {
			return err
		}
	}
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		return fmt.Errorf("line %d: a line has at most %d bytes", n+1, MaxLineBytes)
	}
	return lines.Err()
}

var byteOrderMark = []byte("\ufeff") //nolint:gochecknoglobals // a constant

func parseLine(text []byte, line int) (*Record, *LineError) {
	r := &Record{Line: line}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	err := d.Decode(r)
	if err == nil && d.More() {
		err = errors.New("there is more than one value: one product a line")
	}
	if err == nil {
		err = r.normalise()
	}
	if err != nil {
		return nil, &LineError{Line: line, Slug: r.Slug, Message: explain(err)}
	}
	return r, nil
}

// normalise brings what can be written in several ways into one.
func (r *Record) normalise() error {
	for i := range r.Variants {
		raw, err := canonical(r.Variants[i].Attributes)
		if err != nil {
			return fmt.Errorf("variants.%d.attributes must be a JSON object: %w", i, err)
		}
		if r.Variants[i].Attributes != nil && raw == nil {
			raw = json.RawMessage{} // said to be none
		}
		r.Variants[i].Attributes = raw
	}
	return nil
}

// explain says what is wrong with a line of JSON in the file's terms.
func explain(err error) string {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return fmt.Sprintf("is not JSON at byte %d: %v", syntax.Offset, syntax)
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return "is not whole: a product is one line of JSON"
	case errors.As(err, &kind):
		if kind.Field == "" {
			return fmt.Sprintf("must be a JSON object such as {\"slug\": …}, not a %s", kind.Value)
		}
		return fmt.Sprintf("%s must be a %s, not a %s", kind.Field, wanted(kind.Type.String()), kind.Value)
	}
	if field, found := strings.CutPrefix(err.Error(), "json: unknown field "); found {
		return fmt.Sprintf("there is no field %s: there are slug, name, description, imageUrl, published, variants, and in each variant sku, name, price, attributes, stock", field)
	}
	return err.Error()
}

func wanted(goType string) string {
	switch {
	case strings.HasSuffix(goType, "string"):
		return "text"
	case strings.HasSuffix(goType, "int64"):
		return "whole number"
	case strings.HasSuffix(goType, "bool"):
		return "true or false"
	case strings.HasPrefix(goType, "[]"):
		return "list"
	}
	return "object"
}
