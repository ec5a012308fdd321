package resolve

import (
	"context"
	"strings"

	"stampede/gateway/auth"
	"stampede/gateway/graph"
	"stampede/persistence"
	"stampede/proto/gen/accountpb"
	"stampede/proto/gen/commonpb"
)

const (
	maxEmailBytes        = 254
	minPasswordBytes     = 8
	maxPasswordBytes     = 72
	maxRefreshTokenBytes = 512
	maxRolesSent         = 3
)

// email checks what every address has; what else an address must be is decided where accounts are.
func (p *problems) email(email string) {
	p.require(len(email) <= maxEmailBytes && strings.Contains(email, "@") && printable(email), "must be an e-mail address of at most 254 bytes", "email")
}

func (p *problems) newPassword(password, field string) {
	p.oldPassword(password, field)
	if len(password) < minPasswordBytes {
		*p = append(*p, graph.GenericError{Code: graph.ErrorCodeWeakPassword, Message: "must be at least 8 bytes", Field: []string{field}})
	}
}

// oldPassword: none of more than 72 bytes was ever accepted.
func (p *problems) oldPassword(password, field string) {
	p.require(len(password) <= maxPasswordBytes, "must be at most 72 bytes", field)
}

func (p *problems) personName(name *string) {
	if name != nil {
		p.require(text(*name, maxNameCharacters), "must be at most 200 characters without control characters", "name")
	}
}

func (p *problems) refreshToken(token string) {
	p.require(token != "" && len(token) <= maxRefreshTokenBytes && printable(token), "must be a refresh token as the API gave it", "refreshToken")
}

// user is oneself, or anyone for staff; nil when there is none, or none for this viewer.
func (r *Resolver) user(ctx context.Context, v Viewer, id string) (*graph.User, error) {
	if v.role == anonymous || (id != v.ID && !v.IsStaff()) {
		return nil, nil //nolint:nilnil // to this viewer there is none
	}
	user, err := r.account(ctx, id)
	if err != nil || user == nil {
		return nil, err
	}
	return userOf(user), nil
}

func (r *Resolver) users(ctx context.Context, p place) (*graph.UserConnection, error) {
	rows, more, err := r.rows(ctx, persistence.ListQuery{Kind: kindAccount}, p)
	if err != nil {
		return nil, err
	}
	edges := make([]graph.UserEdge, len(rows))
	for i, row := range rows {
		var u accountpb.User
		if err := unmarshalRow(row, &u); err != nil {
			return nil, err
		}
		edges[i] = graph.UserEdge{Cursor: cursorOf(row.SortMs, row.ID), Node: *userOf(&u)}
	}
	return &graph.UserConnection{Edges: edges, PageInfo: pageInfo(p, more, len(edges), func(i int) string { return edges[i].Cursor })}, nil
}

func authPayload(s *auth.Session, refusal *commonpb.Refusal, err error) (*graph.AuthPayload, error) {
	if err != nil {
		userErrors, err := later(err)
		return &graph.AuthPayload{UserErrors: userErrors}, err
	}
	payload := &graph.AuthPayload{UserErrors: refused(refusal)}
	if s != nil && refusal == nil {
		payload.User, payload.Tokens = userOf(s.User), tokensOf(s)
	}
	return payload, nil
}

func userPayload(u *accountpb.User, refusal *commonpb.Refusal, err error) (*graph.UserPayload, error) {
	if err != nil {
		userErrors, err := later(err)
		return &graph.UserPayload{UserErrors: userErrors}, err
	}
	payload := &graph.UserPayload{UserErrors: refused(refusal)}
	if u != nil && refusal == nil {
		payload.User = userOf(u)
	}
	return payload, nil
}
