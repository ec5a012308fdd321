// Package resolve is the hand-written half of the schema: each resolver finds
// out who asks, turns the input into a command, sends it to the actor that
// decides, and maps the answer. It decides nothing itself.
package resolve

import (
	"context"
	"iter"
	"log/slog"
	"time"

	"google.golang.org/protobuf/proto"

	"stampede/actors/entity"
	"stampede/gateway/auth"
	"stampede/gateway/ledger"
	"stampede/gateway/waiting"
	"stampede/persistence"
	"stampede/proto/gen/accountpb"
	"stampede/proto/gen/apikeypb"
	"stampede/proto/gen/commonpb"
)

// Caller sends a command to an actor and waits for its answer.
type Caller interface {
	Call(ctx context.Context, to entity.Address, cmd proto.Message) (proto.Message, error)
}

// Views are what lists are read from. They lag the actors by a moment.
type Views interface {
	GetRows(ctx context.Context, kind string, ids []string) (map[string]persistence.Row, error)
	ListRows(ctx context.Context, q persistence.ListQuery) ([]persistence.Row, error)
	Changes(ctx context.Context, kind string, since uint64) iter.Seq2[persistence.Change, error]
	LastChange(ctx context.Context, kind string) (uint64, error)
}

// Accounts is everything about passwords and tokens. A refusal is a business
// outcome; its field is the path into the input.
type Accounts interface {
	Register(ctx context.Context, email, password, name string) (*auth.Session, *commonpb.Refusal, error)
	LogIn(ctx context.Context, email, password string) (*auth.Session, *commonpb.Refusal, error)
	Refresh(ctx context.Context, refreshToken string) (*auth.Session, *commonpb.Refusal, error)
	LogOut(ctx context.Context, refreshToken string, everywhere bool) (*commonpb.Refusal, error)
	ChangePassword(ctx context.Context, userID, current, next string) (*auth.Session, *commonpb.Refusal, error)
	UpdateProfile(ctx context.Context, userID string, name *string, ifVersion int64) (*accountpb.User, *commonpb.Refusal, error)
	SetRoles(ctx context.Context, by, userID string, roles []accountpb.Role) (*accountpb.User, *commonpb.Refusal, error)
	// CreateAPIKey makes a key on behalf of `by`; the second result is its secret.
	CreateAPIKey(ctx context.Context, by, name string, roles []accountpb.Role, expires time.Time) (*apikeypb.Key, string, *commonpb.Refusal, error)
	RevokeAPIKey(ctx context.Context, by, id string) (*apikeypb.Key, *commonpb.Refusal, error)
	// AuthenticateAPIKey is who sends the secret; an error that wraps auth.ErrAPIKey: nobody.
	AuthenticateAPIKey(ctx context.Context, secret string) (auth.Claims, error)
	// IsOperator is about this moment, whatever an older token says.
	IsOperator(ctx context.Context, id string) (bool, error)
	// Get refuses with NOT_FOUND when there is no such user.
	Get(ctx context.Context, userID string) (*accountpb.User, *commonpb.Refusal, error)
}

// Journal is what a SKU's past is read from; see persistence.Journal.
type Journal interface {
	ReadStreamBack(ctx context.Context, stream string, beforeSeq uint64) iter.Seq2[*entity.Record, error]
}

// Config is what resolvers work with.
type Config struct {
	Caller   Caller
	Views    Views
	Accounts Accounts
	Journal  Journal
	Cluster  Cluster
	Events   Events
	// HoldFor is how long a placed order's units are held.
	HoldFor time.Duration
	// TicketKey signs tickets and admission tokens: the same on all nodes.
	TicketKey []byte
	Clock     func() time.Time
	Logger    *slog.Logger
}

// Resolver is the root of all resolvers. It is shared by all requests; what
// belongs to one request is in its Scope.
type Resolver struct {
	Config
	catalogue *catalogue
	addresses *auth.Addresses
	ledger    *ledger.Ledger
	shown     *shownLevels
	signer    *waiting.Signer
	schedules *waiting.Schedules
}

// New makes the root resolver.
func New(c Config) *Resolver {
	r := &Resolver{Config: c, catalogue: newCatalogue(c.Views, c.Clock, c.Logger), ledger: ledger.New(c.Journal), shown: newShownLevels(c.Clock), addresses: auth.NewAddresses(), signer: waiting.NewSigner(c.TicketKey)}
	r.schedules = waiting.NewSchedules(r.schedule)
	return r
}
