// Refresh tokens: opaque to whoever holds them.
package auth

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"time"

	"stampede/actors/account"
)

// RefreshLifetime is how long a refresh token is good: each exchange starts it anew.
const RefreshLifetime = 30 * 24 * time.Hour

const (
	refreshPrefix = "rt_"
	idBytes       = 16
	secretBytes   = 32
	tagBytes      = 16
	refreshBytes  = idBytes + idBytes + secretBytes + tagBytes
)

// refreshTokens makes and reads refresh tokens: rt_ and the base64url of the
// account's id, the session's id, 32 random bytes, and the first 16 bytes of an
// HMAC-SHA-256 over those. Only a token's SHA-256 is ever stored. The HMAC tells
// tokens that were made here from made-up ones before any actor is asked: so an
// account that gets a token of one of its sessions other than the newest knows
// that it was used before, however long ago, without keeping a list.
type refreshTokens struct{ key []byte }

// refreshToken is what a token says. The token itself is not kept.
type refreshToken struct {
	userID string
	family string
	hash   []byte
}

func newRefreshTokens(secret []byte) refreshTokens {
	return refreshTokens{key: sign(secret, []byte("refresh token"))}
}

// issue makes a token of the session; "" starts a session.
func (r refreshTokens) issue(userID, family string) (string, refreshToken) {
	b := make([]byte, 0, refreshBytes)
	owner, ok := account.IDBytes(userID)
	if !ok {
		panic("a refresh token for what is no account id")
	}
	session := random(idBytes)
	if family != "" {
		var err error
		if session, err = hex.DecodeString(family); err != nil || len(session) != idBytes {
			panic("a refresh token for what is no session id")
		}
	}
	b = append(b, owner...)
	b = append(b, session...)
	b = append(b, random(secretBytes)...)
	b = append(b, sign(r.key, b)[:tagBytes]...)
	token := refreshPrefix + base64.RawURLEncoding.EncodeToString(b)
	return token, refreshToken{userID: userID, family: hex.EncodeToString(session), hash: hashToken(token)}
}

// read is false for what was not made by issue.
func (r refreshTokens) read(token string) (refreshToken, bool) {
	encoded, ok := strings.CutPrefix(token, refreshPrefix)
	if !ok || len(encoded) != base64.RawURLEncoding.EncodedLen(refreshBytes) {
		return refreshToken{}, false
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(encoded)
	if err != nil || len(b) != refreshBytes {
		return refreshToken{}, false
	}
	said, tag := b[:refreshBytes-tagBytes], b[refreshBytes-tagBytes:]
	if subtle.ConstantTimeCompare(sign(r.key, said)[:tagBytes], tag) != 1 {
		return refreshToken{}, false
	}
	return refreshToken{
		userID: account.IDOf([idBytes]byte(said)),
		family: hex.EncodeToString(said[idBytes : 2*idBytes]),
		hash:   hashToken(token),
	}, true
}

func hashToken(token string) []byte {
	sum := sha256.Sum256([]byte(token))
	return sum[:]
}

func sign(key, message []byte) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write(message)
	return mac.Sum(nil)
}
