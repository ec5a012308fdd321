package resolve

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"stampede/gateway/graph"
	"stampede/gateway/money"
	"stampede/proto/gen/commonpb"
)

// The bounds of inputs that no kind has a constant for.
const (
	maxKeyBytes          = 255
	maxReasonCharacters  = 500
	maxNameCharacters    = 200
	maxPaymentTokenBytes = 255
	maxProblems          = 20
)

// problems collects what is wrong with an input: all of it, up to maxProblems,
// so that a form can be put right in one go.
type problems []graph.UserError

func (p *problems) add(message string, field ...string) {
	if len(*p) < maxProblems {
		*p = append(*p, graph.GenericError{Code: graph.ErrorCodeInvalid, Message: message, Field: field})
	}
}

// require adds the message unless the input is good.
func (p *problems) require(good bool, message string, field ...string) {
	if !good {
		p.add(message, field...)
	}
}

func (p *problems) key(key string) {
	p.require(key != "" && len(key) <= maxKeyBytes && printable(key), "must be 1 to 255 bytes without control characters", "idempotencyKey")
}

func (p *problems) id(id, prefix, field string) {
	if !isID(id, prefix) {
		p.add(wantID(prefix), field)
	}
}

func (p *problems) reason(reason string) {
	p.require(strings.TrimSpace(reason) != "" && text(reason, maxReasonCharacters), "must be 1 to 500 characters without control characters", "reason")
}

// version reads an optional ifVersion; 0 means any.
func (p *problems) version(v *int32) int64 {
	if v == nil {
		return 0
	}
	p.require(*v >= 1, "must be the version that was read, at least 1", "ifVersion")
	return int64(*v)
}

func (p *problems) paymentToken(token string) {
	p.require(token != "" && len(token) <= maxPaymentTokenBytes && printable(token), "must be 1 to 255 bytes without control characters", "paymentToken")
}

// price reads a price below the path, e.g. variants 0 price.
func (p *problems) price(in *graph.MoneyInput, path ...string) *commonpb.Money {
	m, fault := money.Parse(in.Amount, in.Currency)
	if fault != nil {
		p.add(fault.Message, append(path[:len(path):len(path)], fault.Field)...)
		return nil
	}
	return m
}

// index is a place in a list as a path has it.
func index(i int) string { return strconv.Itoa(i) }

// printable reports valid UTF-8 without control characters.
func printable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] == 0x7f {
			return false
		}
		if s[i] >= utf8.RuneSelf {
			return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
		}
	}
	return true
}

// text reports printable text of at most so many characters.
func text(s string, maxCharacters int) bool {
	return len(s) <= utf8.UTFMax*maxCharacters && printable(s) && utf8.RuneCountInString(s) <= maxCharacters
}

func oneTo(what string, high int) string {
	return fmt.Sprintf("must be 1 to %d%s", high, what)
}

func deref[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}

// optional is nil for an empty text: what is not there is null outside.
func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
