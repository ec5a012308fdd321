// E-mail addresses: one spelling for each, because an account's identity is
// made of it.
package account

import (
	"errors"
	"strings"
)

var (
	errEmailLong   = errors.New("must be at most 254 bytes")
	errEmailChars  = errors.New("must have only printable ASCII characters (a domain in other letters in its xn-- form)")
	errEmailForm   = errors.New("must be an e-mail address such as ada@example.com")
	errEmailDomain = errors.New("must have a domain such as example.com after the @")
)

const (
	maxLocalPartBytes = 64
	maxDomainBytes    = 253
	maxLabelBytes     = 63
)

// Normalise is the one spelling of an e-mail address: without space around it,
// in lower case. The error says what would be right. It takes what mail
// systems in use take: a dot-atom and a host name, in ASCII; no quoted local
// parts, comments or address literals.
func Normalise(email string) (string, error) {
	if len(email) > 2*MaxEmailBytes {
		return "", errEmailLong
	}
	email = strings.TrimSpace(email)
	if len(email) > MaxEmailBytes {
		return "", errEmailLong
	}
	if strings.ContainsFunc(email, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", errEmailChars
	}
	email = strings.ToLower(email)
	local, domain, ok := strings.Cut(email, "@")
	if !ok || len(local) > maxLocalPartBytes || !eachPart(local, isAtom) {
		return "", errEmailForm
	}
	if len(domain) > maxDomainBytes || !eachPart(domain, isLabel) {
		return "", errEmailDomain
	}
	return email, nil
}

// eachPart reports whether all parts between dots are fit.
func eachPart(s string, fit func(string) bool) bool {
	for part := range strings.SplitSeq(s, ".") {
		if !fit(part) {
			return false
		}
	}
	return true
}

func isAtom(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return !alphanumeric(r) && !strings.ContainsRune("!#$%&'*+/=?^_`{|}~-", r)
	})
}

func isLabel(s string) bool {
	return s != "" && len(s) <= maxLabelBytes && s[0] != '-' && s[len(s)-1] != '-' &&
		!strings.ContainsFunc(s, func(r rune) bool { return !alphanumeric(r) && r != '-' })
}

func alphanumeric(r rune) bool { return r >= 'a' && r <= 'z' || r >= '0' && r <= '9' }
