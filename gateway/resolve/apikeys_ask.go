package resolve

import (
	"context"
	"strings"

	"stampede/gateway/fault"
	"stampede/gateway/graph"
	"stampede/gateway/scalar"
	"stampede/persistence"
	"stampede/proto/gen/apikeypb"
	"stampede/proto/gen/commonpb"
)

const (
	apiKeyPrefix            = "key_"
	kindAPIKey              = "apikey"
	maxAPIKeyNameCharacters = 100
	// maxAPIKeys is how many keys a shop has that are not revoked, as far as
	// the list knows, which lags by a moment.
	maxAPIKeys = 1_000
)

func (p *problems) apiKeyName(name string) {
	p.require(strings.TrimSpace(name) != "" && text(name, maxAPIKeyNameCharacters), "must be 1 to 100 characters without control characters", "name")
}

// apiKeys lists the keys that are not revoked, newest first, from the view.
func (r *Resolver) apiKeys(ctx context.Context) ([]graph.APIKey, error) {
	p := place{first: maxPage}
	keys := []graph.APIKey{}
	for {
		rows, more, err := r.rows(ctx, persistence.ListQuery{Kind: kindAPIKey, State: "active"}, p)
		if err != nil {
			return nil, err
		}
		for _, row := range rows {
			var key apikeypb.Key
			if err := unmarshalRow(row, &key); err != nil {
				return nil, err
			}
			keys = append(keys, *apiKeyOf(&key))
			p.afterSortMs, p.afterID = row.SortMs, row.ID
		}
		if !more || len(keys) >= 2*maxAPIKeys { // some may have been made at the same moment
			return keys, nil
		}
	}
}

// operatorNow refuses who was an operator when the access token was made and is
// none any more. Roles can be taken back for as long as a token lives, so what
// hands out power or shows who has it asks again.
func (r *Resolver) operatorNow(ctx context.Context, v Viewer) error {
	still, err := r.Accounts.IsOperator(ctx, v.ID)
	if err != nil {
		return err
	}
	if !still {
		return fault.New(fault.Forbidden, "only for the role OPERATOR, which you do not have any more")
	}
	return nil
}

func apiKeyOf(k *apikeypb.Key) *graph.APIKey {
	return &graph.APIKey{
		ID: k.Id, Name: k.Name, Roles: shownRoles(k.Roles), CreatedAt: scalar.DateTime(k.CreatedAtMs),
		ExpiresAt: optionalTime(k.ExpiresAtMs), LastUsedAt: optionalTime(k.LastUsedAtMs),
	}
}

func apiKeyPayload(k *apikeypb.Key, refusal *commonpb.Refusal, err error) (*graph.APIKeyPayload, error) {
	if err != nil {
		userErrors, err := later(err)
		return &graph.APIKeyPayload{UserErrors: userErrors}, err
	}
	payload := &graph.APIKeyPayload{UserErrors: refused(refusal)}
	if k != nil && refusal == nil {
		payload.APIKey = apiKeyOf(k)
	}
	return payload, nil
}

func optionalTime(ms int64) *scalar.DateTime {
	if ms == 0 {
		return nil
	}
	at := scalar.DateTime(ms)
	return &at
}
