// Access tokens: JWTs signed with EdDSA (RFC 8037), of the type that RFC 9068
// gives to access tokens. They live for 15 minutes and cannot be taken back.
package auth

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"
	lru "github.com/hashicorp/golang-lru/v2"

	"stampede/proto/gen/accountpb"
)

// What an access token says, and how it is bounded.
const (
	Issuer        = "stampede"
	Audience      = "stampede-api"
	TokenType     = "at+jwt"
	TokenLifetime = 15 * time.Minute
	// ClockLeeway is how far the clocks of two nodes may be apart.
	ClockLeeway = 30 * time.Second
	// MaxTokenBytes is far above what Issue makes; what is longer is not looked at.
	MaxTokenBytes = 4 << 10

	algorithm        = "EdDSA"
	maxSubjectBytes  = 128
	defaultCacheSize = 16_384
)

// Role is what a user may do, as the API and the tokens spell it.
type Role string

// The roles.
const (
	Customer Role = "CUSTOMER"
	Staff    Role = "STAFF"
	Operator Role = "OPERATOR"
)

// Claims is what a verified token says. Roles must not be changed: they are shared.
type Claims struct {
	UserID    string
	Roles     []Role
	ExpiresAt time.Time
}

// TokenOptions bounds what Tokens keeps.
type TokenOptions struct {
	// CacheSize is how many verified tokens are remembered; 0: 16,384, which is
	// some 10 MB when full.
	CacheSize int
}

// Tokens issues and verifies access tokens. Safe for use by several goroutines.
type Tokens struct {
	keys   *Keys
	parser *jwt.Parser
	// verified remembers what a token said, by the token: looking an Ed25519
	// signature over takes some 100 times as long. An entry is good until its
	// token expires or the keys are loaded again. Only what has a good
	// signature gets in, so strangers cannot wash it out.
	verified *lru.Cache[string, verifiedToken]
}

type verifiedToken struct {
	claims Claims
	set    *keySet // the keys it was verified against
}

// accessClaims is the payload of a token.
type accessClaims struct {
	jwt.RegisteredClaims
	Roles []Role `json:"roles"`
}

// NewTokens issues with, and verifies against, the keys.
func NewTokens(keys *Keys, o TokenOptions) *Tokens {
	if o.CacheSize <= 0 {
		o.CacheSize = defaultCacheSize
	}
	cache, err := lru.New[string, verifiedToken](o.CacheSize)
	if err != nil {
		panic(fmt.Sprintf("token cache of size %d: %v", o.CacheSize, err)) // only for a size below 1
	}
	return &Tokens{
		keys: keys, verified: cache,
		parser: jwt.NewParser(jwt.WithValidMethods([]string{algorithm}), jwt.WithStrictDecoding(), jwt.WithoutClaimsValidation()),
	}
}

// Issue makes a token for the user, good until the time it returns.
func (t *Tokens) Issue(userID string, roles []Role, now time.Time) (string, time.Time, error) {
	now = now.Truncate(time.Second)
	expires := now.Add(TokenLifetime)
	var id [16]byte
	rand.Read(id[:]) // never fails: crypto/rand
	token := jwt.NewWithClaims(jwt.SigningMethodEdDSA, accessClaims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer: Issuer, Audience: jwt.ClaimStrings{Audience}, Subject: userID,
			IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(expires),
			ID: base64.RawURLEncoding.EncodeToString(id[:]),
		},
		Roles: roles,
	})
	key := t.keys.set.Load().signer(now)
	token.Header["typ"], token.Header["kid"] = TokenType, key.id
	signed, err := token.SignedString(key.private)
	if err != nil {
		return "", time.Time{}, fmt.Errorf("sign access token: %w", err)
	}
	return signed, expires, nil
}

// RolesOf spells roles as tokens do; those that it does not know are left out.
func RolesOf(roles []accountpb.Role) []Role {
	out := make([]Role, 0, len(roles))
	for _, r := range roles {
		switch r {
		case accountpb.Role_ROLE_CUSTOMER:
			out = append(out, Customer)
		case accountpb.Role_ROLE_STAFF:
			out = append(out, Staff)
		case accountpb.Role_ROLE_OPERATOR:
			out = append(out, Operator)
		case accountpb.Role_ROLE_UNSPECIFIED:
		}
	}
	return out
}
