// Verifying access tokens. The JWT library takes the token apart and checks
// the signature; what it would let pass (critical extensions, other types of
// token, an empty subject, a life of ten years) is checked here.
package auth

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/golang-jwt/jwt/v5"
)

// Verify returns what the token says, or an error that wraps ErrToken.
func (t *Tokens) Verify(token string, now time.Time) (Claims, error) {
	if len(token) > MaxTokenBytes {
		return Claims{}, ErrTokenTooLarge
	}
	set := t.keys.set.Load()
	if known, ok := t.verified.Get(token); ok && known.set == set {
		if !now.Before(known.claims.ExpiresAt) {
			t.verified.Remove(token)
			return Claims{}, ErrTokenExpired
		}
		return known.claims, nil
	}
	claims, err := t.verify(token, set, now)
	if err != nil {
		return Claims{}, err
	}
	// The caller's string may be part of a whole request: keep no more than the token.
	t.verified.Add(strings.Clone(token), verifiedToken{claims: claims, set: set})
	return claims, nil
}

func (t *Tokens) verify(token string, set *keySet, now time.Time) (Claims, error) {
	said := &accessClaims{}
	_, err := t.parser.ParseWithClaims(token, said, func(parsed *jwt.Token) (any, error) {
		return keyFor(parsed.Header, set)
	})
	switch {
	case err == nil:
	case errors.Is(err, ErrTokenHeader), errors.Is(err, ErrTokenKey):
		return Claims{}, firstOf(err, ErrTokenHeader, ErrTokenKey)
	case errors.Is(err, jwt.ErrTokenMalformed):
		return Claims{}, ErrTokenMalformed
	case errors.Is(err, jwt.ErrTokenUnverifiable):
		return Claims{}, ErrTokenHeader // no such algorithm, or none
	default:
		return Claims{}, ErrTokenSignature
	}
	return checkClaims(said, now)
}

// firstOf leaves out of an error what the library put around it.
func firstOf(err error, ours ...error) error {
	for _, e := range ours {
		if errors.Is(err, e) {
			return e
		}
	}
	return err
}

// keyFor is the key that the header names, if the header is one of ours.
func keyFor(header map[string]any, set *keySet) (any, error) {
	if header["alg"] != algorithm || header["typ"] != TokenType {
		return nil, ErrTokenHeader
	}
	if _, critical := header["crit"]; critical {
		return nil, ErrTokenHeader // RFC 7515: what is critical and not understood is refused; nothing is
	}
	id, _ := header["kid"].(string)
	key := set.byID[id]
	if key == nil {
		return nil, ErrTokenKey
	}
	return key.public, nil
}

func checkClaims(c *accessClaims, now time.Time) (Claims, error) {
	bad := func(claim string) (Claims, error) { return Claims{}, fmt.Errorf("%w: %s", ErrTokenClaims, claim) }
	switch {
	case c.Issuer != Issuer:
		return bad("iss")
	case !slices.Contains(c.Audience, Audience):
		return bad("aud")
	case c.Subject == "" || len(c.Subject) > maxSubjectBytes || strings.ContainsFunc(c.Subject, unicode.IsControl):
		return bad("sub")
	case c.ExpiresAt == nil:
		return bad("exp")
	case c.IssuedAt == nil || c.IssuedAt.After(now.Add(ClockLeeway)):
		return bad("iat")
	case c.NotBefore != nil && c.NotBefore.After(now.Add(ClockLeeway)):
		return bad("nbf")
	case c.ExpiresAt.Sub(c.IssuedAt.Time) > TokenLifetime+ClockLeeway:
		return bad("exp") // however long it says it lives
	case len(c.Roles) == 0 || slices.ContainsFunc(c.Roles, func(r Role) bool { return r != Customer && r != Staff && r != Operator }):
		return bad("roles")
	case !now.Before(c.ExpiresAt.Time):
		return Claims{}, ErrTokenExpired
	}
	return Claims{UserID: c.Subject, Roles: c.Roles, ExpiresAt: c.ExpiresAt.Time}, nil
}
