// Package scalar holds the schema's scalars: strict on the way in (a wrong JSON
// type or an Int beyond 32 bits is a typed refusal), cheap on the way out.
package scalar

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
	"time"

	"github.com/99designs/gqlgen/graphql"
)

// Error says what a scalar would accept. The caller knows the field's path.
type Error struct{ Want string }

func (e *Error) Error() string { return "must be " + e.Want }

func wrong(want string) error { return &Error{Want: want} }

// errInt is what every bad Int gets.
var errInt = &Error{Want: WantInt}

// WantInt is what an Int must be, in words.
const WantInt = "a whole number from -2147483648 to 2147483647"

// MarshalInt writes an Int.
func MarshalInt(i int32) graphql.Marshaler { return integer(i) }

type integer int32

// MarshalGQL implements graphql.Marshaler.
func (i integer) MarshalGQL(w io.Writer) {
	var buf [12]byte
	_, _ = w.Write(strconv.AppendInt(buf[:0], int64(i), 10))
}

// UnmarshalInt reads an Int from a literal (int64) or a JSON variable.
func UnmarshalInt(v any) (int32, error) {
	var n int64
	switch v := v.(type) {
	case int64:
		n = v
	case int32:
		n = int64(v)
	case int:
		n = int64(v)
	case json.Number:
		parsed, err := strconv.ParseInt(string(v), 10, 32)
		if err != nil {
			return 0, errInt
		}
		n = parsed
	default:
		return 0, errInt
	}
	if n < math.MinInt32 || n > math.MaxInt32 {
		return 0, errInt
	}
	return int32(n), nil
}

// MarshalString writes a String.
func MarshalString(s string) graphql.Marshaler { return graphql.MarshalString(s) }

// UnmarshalString accepts strings only: no numbers in their place.
func UnmarshalString(v any) (string, error) {
	if s, ok := v.(string); ok {
		return s, nil
	}
	return "", wrong("a string")
}

// MarshalID writes an ID.
func MarshalID(s string) graphql.Marshaler { return graphql.MarshalString(s) }

// UnmarshalID accepts strings, and integers as GraphQL says (no id of ours is one).
func UnmarshalID(v any) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case json.Number:
		return string(v), nil
	case int64:
		return strconv.FormatInt(v, 10), nil
	}
	return "", wrong("an id, a string")
}

// Decimal is a decimal string as it was sent. Whether it is a good amount
// depends on the currency beside it, so package money judges that.
type Decimal string

// MarshalGQL implements graphql.Marshaler.
func (d Decimal) MarshalGQL(w io.Writer) {
	var buf [32]byte
	_, _ = w.Write(d.AppendGQL(buf[:0]))
}

// AppendGQL appends the JSON. A Decimal holds digits, a sign and a point only.
func (d Decimal) AppendGQL(b []byte) []byte {
	b = append(b, '"')
	b = append(b, d...)
	return append(b, '"')
}

// UnmarshalGQL implements graphql.Unmarshaler: a float is refused, because it has lost digits already.
func (d *Decimal) UnmarshalGQL(v any) error {
	s, ok := v.(string)
	if !ok {
		return wrong(WantDecimal)
	}
	*d = Decimal(s)
	return nil
}

// WantDecimal is what a Decimal must be, in words.
const WantDecimal = `a decimal string such as "19.90", not a number`

// DateTime is a moment in Unix milliseconds.
type DateTime int64

// MarshalGQL implements graphql.Marshaler.
func (t DateTime) MarshalGQL(w io.Writer) {
	var buf [40]byte
	_, _ = w.Write(t.AppendGQL(buf[:0]))
}

// AppendGQL appends the JSON.
func (t DateTime) AppendGQL(b []byte) []byte {
	b = append(b, '"')
	b = time.UnixMilli(int64(t)).UTC().AppendFormat(b, "2006-01-02T15:04:05.000Z")
	return append(b, '"')
}

// UnmarshalGQL implements graphql.Unmarshaler. No input of this schema takes a
// DateTime yet; gqlgen wants both directions of a scalar.
func (t *DateTime) UnmarshalGQL(v any) error {
	s, ok := v.(string)
	if !ok {
		return wrong("an RFC 3339 time")
	}
	parsed, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return wrong("an RFC 3339 time")
	}
	*t = DateTime(parsed.UnixMilli())
	return nil
}

// JSON is a JSON text.
type JSON string

// MarshalGQL implements graphql.Marshaler.
func (j JSON) MarshalGQL(w io.Writer) {
	_, _ = w.Write(j.AppendGQL(nil))
}

// AppendGQL appends the text, which is JSON already.
func (j JSON) AppendGQL(b []byte) []byte {
	if j == "" {
		return append(b, "null"...)
	}
	return append(b, j...)
}

// UnmarshalGQL implements graphql.Unmarshaler. Keys come out sorted, so that
// equal values are equal texts whatever order they were sent in.
func (j *JSON) UnmarshalGQL(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("%w: %w", wrong("JSON"), err)
	}
	*j = JSON(b)
	return nil
}
