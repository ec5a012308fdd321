package gateway

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"stampede/gateway/auth"
	"stampede/gateway/httpapi"
	"stampede/gateway/resolve"
)

// APIKeyHeader is the header of a machine's key.
const APIKeyHeader = "X-Api-Key" //nolint:gosec // the name of a header

// Credentials are what a request, or a connection at its beginning, says who it
// is by: the values of the two headers, each as often as it was sent.
type Credentials struct {
	Authorization []string
	APIKey        []string
}

// What is wrong with what was sent, in words for whoever sent it.
const (
	badHeader = "the Authorization header must be: Bearer, a space, an access token"
	badToken  = "the access token is expired or not valid: refresh it or log in again"
	badKey    = "the API key is not known, expired or revoked"
	twoWays   = "send an access token or one x-api-key, not both"
)

// Who finds out who asks, and puts it into the context with everything else
// that belongs to one request. caller is whose budget is charged: the user's or
// the API key's, empty when it is nobody's. Whose token or key is no good is
// nobody, and is told so by every field that looks at who asks. from is the
// address that asks, as far as it is to be limited; see httpapi.ClientAddress.
func (g *Gateway) Who(ctx context.Context, c Credentials, requestID string, from func() string) (with context.Context, caller string) {
	scope, caller := g.scope(ctx, c, requestID)
	scope.From = from
	return resolve.WithScope(ctx, scope), caller
}

func (g *Gateway) scope(ctx context.Context, c Credentials, requestID string) (*resolve.Scope, string) {
	switch {
	case len(c.Authorization) == 0 && len(c.APIKey) == 0:
		return resolve.NewScope(requestID, resolve.Viewer{}), ""
	case len(c.APIKey) > 1 || len(c.APIKey) > 0 && len(c.Authorization) > 0:
		return resolve.NewRefusedScope(requestID, twoWays), ""
	case len(c.APIKey) == 1:
		claims, err := g.config.Accounts.AuthenticateAPIKey(ctx, c.APIKey[0])
		switch {
		case errors.Is(err, auth.ErrAPIKey):
			return resolve.NewRefusedScope(requestID, badKey), ""
		case err != nil: // it may be good: that it cannot be looked at now is no reason to say otherwise
			return resolve.NewFaultyScope(requestID, err), ""
		}
		return resolve.NewScope(requestID, resolve.NewViewer(claims)), claims.UserID
	}
	scheme, token, _ := strings.Cut(c.Authorization[0], " ")
	if len(c.Authorization) > 1 || !strings.EqualFold(scheme, "Bearer") || token == "" {
		return resolve.NewRefusedScope(requestID, badHeader), ""
	}
	claims, err := g.config.Tokens.Verify(token, g.config.Clock())
	if err != nil {
		return resolve.NewRefusedScope(requestID, badToken), ""
	}
	return resolve.NewScope(requestID, resolve.NewViewer(claims)), claims.UserID
}

// identify is Who for an HTTP request.
func (g *Gateway) identify(ctx context.Context, r *http.Request, requestID string) (context.Context, string) {
	return g.Who(ctx, Credentials{Authorization: r.Header["Authorization"], APIKey: r.Header[APIKeyHeader]}, requestID, func() string {
		return httpapi.ClientAddress(r, g.config.TrustedProxies)
	})
}
