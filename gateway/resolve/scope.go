package resolve

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/99designs/gqlgen/graphql"

	"stampede/gateway/auth"
	"stampede/gateway/fault"
	"stampede/gateway/graph"
	"stampede/proto/gen/commonpb"
)

// Viewer is who asks. The zero Viewer is nobody in particular.
type Viewer struct {
	ID   string
	role role
	// until is when the access token ends; zero: it has no end, or there is none.
	until time.Time
}

// role is the most that somebody may do: each role may what those before it
// may. Who runs the cluster can give themselves any role, so keeping the shop
// from them would only be a pretence.
type role uint8

const (
	anonymous role = iota
	customer
	staff
	operator
)

// NewViewer is the user that an access token is of, or the machine that an API
// key is of: what it places and changes carries the key's id.
func NewViewer(c auth.Claims) Viewer {
	v := Viewer{ID: c.UserID, role: customer, until: c.ExpiresAt}
	for _, name := range c.Roles {
		v.role = max(v.role, roleOf(graph.Role(name)))
	}
	return v
}

func roleOf(r graph.Role) role {
	switch r {
	case graph.RoleCustomer:
		return customer
	case graph.RoleStaff:
		return staff
	case graph.RoleOperator:
		return operator
	}
	return anonymous
}

// IsStaff reports who may see and change everything in the shop.
func (v Viewer) IsStaff() bool { return v.role >= staff }

func (v Viewer) actor() *commonpb.Actor {
	return &commonpb.Actor{UserId: v.ID, Staff: v.IsStaff()}
}

// Scope is what belongs to one request.
type Scope struct {
	RequestID string
	viewer    Viewer
	// From is the address that asks, as far as it is to be limited; nil or
	// empty: it is not.
	From func() string
	// fault is why it is not known who asks although something was sent to say
	// so; nil when that is good or nothing was sent.
	fault error

	// listed: the request lists products, whose stock may be a moment old.
	listed atomic.Bool

	loadersOnce sync.Once
	loaders     *loaders
}

// NewScope is a request by somebody, or by nobody in particular.
func NewScope(requestID string, v Viewer) *Scope { return &Scope{RequestID: requestID, viewer: v} }

// NewRefusedScope is a request with an access token that is no good. Logging in
// and refreshing work, and everything that looks at who asks does not.
func NewRefusedScope(requestID, tokenFault string) *Scope {
	return NewFaultyScope(requestID, fault.New(fault.Unauthenticated, tokenFault))
}

// NewFaultyScope is a request of which it could not be found out who asks.
func NewFaultyScope(requestID string, err error) *Scope {
	return &Scope{RequestID: requestID, fault: err}
}

// IsStaff reports a request by the shop's staff.
func (s *Scope) IsStaff() bool { return s.viewer.IsStaff() }

type scopeKey struct{}

// WithScope puts the scope into a request's context.
func WithScope(ctx context.Context, s *Scope) context.Context {
	return context.WithValue(ctx, scopeKey{}, s)
}

// ScopeOf is the request's scope; outside a request it is empty.
func ScopeOf(ctx context.Context) *Scope {
	if s, ok := ctx.Value(scopeKey{}).(*Scope); ok {
		return s
	}
	return &Scope{}
}

// addressOf is the address that asks, as far as it is to be limited; else empty.
func addressOf(ctx context.Context) string {
	if from := ScopeOf(ctx).From; from != nil {
		return from()
	}
	return ""
}

// viewerOf is who asks, which may be nobody; an error when a bad token was sent.
func viewerOf(ctx context.Context) (Viewer, error) {
	s := ScopeOf(ctx)
	if s.fault != nil {
		return Viewer{}, s.fault
	}
	return s.viewer, nil
}

// Auth is the @auth directive: it lets through who has the role or a higher one.
func Auth(ctx context.Context, _ any, next graphql.Resolver, required graph.Role) (any, error) {
	v, err := viewerOf(ctx)
	if err != nil {
		return nil, err
	}
	needed := roleOf(required)
	switch {
	case v.role >= needed && needed > anonymous:
		return next(ctx)
	case v.role == anonymous:
		return nil, fault.New(fault.Unauthenticated, "log in first: send an access token as Authorization: Bearer, or an API key as x-api-key")
	default:
		return nil, fault.New(fault.Forbidden, "only for the role "+string(required))
	}
}

// Credentials are what must be known of who asks for longer than one request:
// until when that is so (zero: for ever), and what is wrong with what was sent,
// if it is no good. That it cannot be looked at for the moment is no such thing.
func Credentials(ctx context.Context) (until time.Time, wrong string) {
	s := ScopeOf(ctx)
	if refused, ok := errors.AsType[*fault.Error](s.fault); ok && refused.Code == fault.Unauthenticated {
		wrong = refused.Message
	}
	return s.viewer.until, wrong
}
