// API keys: what machines are known by. A key's truth is its actor
// (actors/apikey), which is asked at every use: so a key that was revoked is
// refused by every node from the moment its revocation is answered.
package auth

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"stampede/actors/apikey"
	"stampede/actors/entity"
	"stampede/proto/gen/accountpb"
	"stampede/proto/gen/apikeypb"
	"stampede/proto/gen/commonpb"
)

// apiKeyBytes is what follows the id in a secret: random bytes and a tag.
const apiKeyBytes = secretBytes + tagBytes

// apiKeys makes and reads the secrets of API keys: the key's id, a dot, and the
// base64url of 32 random bytes and the first 16 bytes of an HMAC-SHA-256 over
// the id and those. The HMAC tells secrets that were made here from made-up
// ones, so that nobody can make the cluster start actors by guessing. Only a
// secret's SHA-256 is ever stored.
type apiKeys struct{ key []byte }

func newAPIKeys(secret []byte) apiKeys { return apiKeys{key: sign(secret, []byte("api key"))} }

// issue makes a key's id and secret.
func (k apiKeys) issue() (id, secret string) {
	id = apikey.IDOf([idBytes]byte(random(idBytes)))
	b := random(secretBytes)
	b = append(b, k.tag(id, b)...)
	return id, id + "." + base64.RawURLEncoding.EncodeToString(b)
}

// read is the id in a secret that was made by issue.
func (k apiKeys) read(secret string) (id string, ok bool) {
	id, encoded, ok := strings.Cut(secret, ".")
	if !ok || !apikey.IsID(id) || len(encoded) != base64.RawURLEncoding.EncodedLen(apiKeyBytes) {
		return "", false
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(encoded)
	if err != nil || len(b) != apiKeyBytes {
		return "", false
	}
	return id, subtle.ConstantTimeCompare(k.tag(id, b[:secretBytes]), b[secretBytes:]) == 1
}

func (k apiKeys) tag(id string, b []byte) []byte {
	return sign(k.key, append([]byte(id+"."), b...))[:tagBytes]
}

// AuthenticateAPIKey is who sends the secret: its UserID is the key's id. An
// error that wraps ErrAPIKey: nobody, because it is not known, expired or
// revoked; any other is a fault, and who it is could not be found out.
func (a *Accounts) AuthenticateAPIKey(ctx context.Context, secret string) (Claims, error) {
	id, ok := a.apiKeys.read(secret)
	if !ok {
		return Claims{}, ErrAPIKey
	}
	key, r, err := a.apiKey(ctx, id, &apikeypb.Authenticate{SecretHash: hashToken(secret)})
	if err != nil {
		return Claims{}, err
	}
	if r != nil {
		return Claims{}, ErrAPIKey
	}
	claims := Claims{UserID: key.GetId(), Roles: RolesOf(key.GetRoles())}
	if key.GetExpiresAtMs() != 0 {
		claims.ExpiresAt = time.UnixMilli(key.GetExpiresAtMs())
	}
	return claims, nil
}

// CreateAPIKey makes a key on behalf of an operator (a user or a key), who can
// give it no role above their own. The secret is nowhere else and cannot be had
// again. A zero expiry: none.
func (a *Accounts) CreateAPIKey(ctx context.Context, by, name string, roles []accountpb.Role, expires time.Time) (*apikeypb.Key, string, *commonpb.Refusal, error) {
	own, err := a.rolesNow(ctx, by)
	if err != nil {
		return nil, "", nil, err
	}
	if !slices.Contains(own, accountpb.Role_ROLE_OPERATOR) {
		return nil, "", noOperator(), nil
	}
	if len(roles) > 0 && slices.Max(roles) > slices.Max(own) {
		return nil, "", refusal(commonpb.Reason_REASON_FORBIDDEN, "must not be above your own roles", "roles"), nil
	}
	id, secret := a.apiKeys.issue()
	cmd := &apikeypb.Create{Name: name, Roles: roles, SecretHash: hashToken(secret), Actor: &commonpb.Actor{UserId: by, Staff: true}}
	if !expires.IsZero() {
		cmd.ExpiresAtMs = expires.UnixMilli()
	}
	key, r, err := a.apiKey(ctx, id, cmd)
	if r != nil || err != nil {
		return nil, "", r, err
	}
	return key, secret, nil, nil
}

// RevokeAPIKey ends a key on behalf of an operator. Once it has returned, no
// node takes the key any more.
func (a *Accounts) RevokeAPIKey(ctx context.Context, by, id string) (*apikeypb.Key, *commonpb.Refusal, error) {
	if !apikey.IsID(id) {
		return nil, refusal(commonpb.Reason_REASON_NOT_FOUND, "there is no such API key", "id"), nil
	}
	still, err := a.IsOperator(ctx, by)
	if err != nil {
		return nil, nil, err
	}
	if !still {
		return nil, noOperator(), nil
	}
	return a.apiKey(ctx, id, &apikeypb.Revoke{Actor: &commonpb.Actor{UserId: by, Staff: true}})
}

// IsOperator asks whether a user or a key is an operator at this moment,
// whatever a token says that was made up to 15 minutes ago.
func (a *Accounts) IsOperator(ctx context.Context, id string) (bool, error) {
	roles, err := a.rolesNow(ctx, id)
	return slices.Contains(roles, accountpb.Role_ROLE_OPERATOR), err
}

func (a *Accounts) rolesNow(ctx context.Context, id string) ([]accountpb.Role, error) {
	if apikey.IsID(id) {
		key, _, err := a.apiKey(ctx, id, &apikeypb.Get{})
		if err != nil || key.GetRevokedAtMs() != 0 {
			return nil, err
		}
		return key.GetRoles(), nil
	}
	user, _, err := a.Get(ctx, id)
	return user.GetRoles(), err
}

func noOperator() *commonpb.Refusal {
	return refusal(commonpb.Reason_REASON_FORBIDDEN, "you are not an operator any more")
}

// apiKey sends a command that is answered with the key.
func (a *Accounts) apiKey(ctx context.Context, id string, cmd proto.Message) (*apikeypb.Key, *commonpb.Refusal, error) {
	name := cmd.ProtoReflect().Descriptor().Name()
	reply, err := a.caller.Call(ctx, entity.Address{Kind: apikey.Name, ID: id}, cmd)
	if err != nil {
		return nil, nil, fmt.Errorf("%s API key %s: %w", name, id, err)
	}
	answer, ok := reply.(*apikeypb.KeyReply)
	if !ok {
		return nil, nil, fmt.Errorf("%s API key %s: %w: %T", name, id, ErrReply, reply)
	}
	return answer.Key, answer.Refusal, nil
}
