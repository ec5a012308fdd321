package gateway_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"stampede/actors/entity"
	"stampede/gateway"
	"stampede/gateway/auth"
	"stampede/internal/memstore"
	"stampede/persistence"
	"stampede/proto/gen/accountpb"
	"stampede/proto/gen/apikeypb"
	"stampede/proto/gen/commonpb"
)

// world is a gateway over fakes that a test looks into.
type world struct {
	t        *testing.T
	caller   *fakeCaller
	views    *fakeViews
	accounts *fakeAccounts
	journal  *memstore.Store
	log      *syncBuffer
	gateway  *gateway.Gateway
	handler  http.Handler
	tokens   *auth.Tokens // of a real shop
}

var clock = func() time.Time { return time.UnixMilli(1_800_000_000_000) }

func newWorld(t *testing.T, change ...func(*gateway.Config)) *world {
	t.Helper()
	w := &world{t: t, caller: &fakeCaller{}, views: &fakeViews{}, accounts: &fakeAccounts{}, journal: memstore.New(), log: &syncBuffer{}}
	c := gateway.Config{
		Caller: w.caller, Views: w.views, Accounts: w.accounts, Journal: w.journal, Cluster: aCluster{}, Events: &fakeEvents{done: true},
		Tokens: fakeTokens{}, Keys: fakeTokens{},
		HoldFor: 10 * time.Minute, TicketKey: []byte("0123456789abcdef0123456789abcdef"), Logger: slog.New(slog.NewTextHandler(w.log, nil)), Clock: clock,
	}
	c.Limits.HTTP.RatePerSecond = -1
	for _, f := range change {
		f(&c)
	}
	g, err := gateway.New(c)
	if err != nil {
		t.Fatal(err)
	}
	w.gateway, w.handler = g, g.Handler()
	return w
}

// Ids and tokens of the people in these tests: a token is the id and the roles.
const (
	alice    = "usr_aaaaaaaaaaaaaaaaaaaaaaaaaa"
	bob      = "usr_bbbbbbbbbbbbbbbbbbbbbbbbbb"
	asAlice  = alice + "/CUSTOMER"
	asBob    = bob + "/CUSTOMER"
	asStaff  = "usr_cccccccccccccccccccccccccc/CUSTOMER,STAFF"
	asOp     = "usr_dddddddddddddddddddddddddd/OPERATOR"
	anOrder  = "ord_aaaaaaaaaaaaaaaaaaaaaaaaaa"
	aKey     = "key_aaaaaaaaaaaaaaaaaaaaaaaaaa"
	aSale    = "sal_aaaaaaaaaaaaaaaaaaaaaaaaaa"
	aProduct = "prd_aaaaaaaaaaaaaaaaaaaaaaaaaa"
)

type fakeTokens struct{}

func (fakeTokens) JWKS() []byte { return []byte(`{"keys":[]}`) }

func (fakeTokens) Verify(token string, _ time.Time) (auth.Claims, error) {
	id, names, ok := strings.Cut(token, "/")
	if !ok {
		return auth.Claims{}, auth.ErrToken
	}
	c := auth.Claims{UserID: id}
	for name := range strings.SplitSeq(names, ",") {
		c.Roles = append(c.Roles, auth.Role(name))
	}
	return c, nil
}

// answer is a decoded response.
type answer struct {
	status int
	header http.Header
	text   string
	Data   map[string]any `json:"data"`
	Errors []struct {
		Message    string
		Path       []any
		Extensions struct {
			Code         string
			Field        []string
			RetryAfterMs int
			RequestID    string
		}
	}
	Extensions map[string]any
}

// ask posts a query with variables.
func (w *world) ask(token, query string, variables map[string]any) *answer {
	w.t.Helper()
	body, err := json.Marshal(map[string]any{"query": query, "variables": variables})
	if err != nil {
		w.t.Fatal(err)
	}
	return w.post(token, string(body))
}

func (w *world) post(token, body string, header ...string) *answer {
	w.t.Helper()
	r := httptest.NewRequest(http.MethodPost, "/graphql", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return w.do(r)
}

func (w *world) do(r *http.Request) *answer {
	w.t.Helper()
	rec := httptest.NewRecorder()
	w.handler.ServeHTTP(rec, r)
	return w.read(rec)
}

func (w *world) read(rec *httptest.ResponseRecorder) *answer {
	w.t.Helper()
	a := &answer{status: rec.Code, header: rec.Header(), text: rec.Body.String()}
	if strings.Contains(rec.Header().Get("Content-Type"), "json") {
		if err := json.Unmarshal(rec.Body.Bytes(), a); err != nil {
			w.t.Fatalf("answer is not JSON: %v\n%s", err, a.text)
		}
	}
	return a
}

// code is the code of the only top-level error.
func (a *answer) code() string {
	if len(a.Errors) != 1 {
		return ""
	}
	return a.Errors[0].Extensions.Code
}

// userErrors are those of the only root field.
func (a *answer) userErrors() []map[string]any {
	var out []map[string]any
	for _, payload := range a.Data {
		fields, _ := payload.(map[string]any)
		list, _ := fields["userErrors"].([]any)
		for _, e := range list {
			out = append(out, e.(map[string]any))
		}
	}
	return out
}

// fakeCaller notes what was sent and answers with what the test says.
type fakeCaller struct {
	mu     sync.Mutex
	calls  []sent
	answer func(ctx context.Context, to entity.Address, cmd proto.Message) (proto.Message, error)
}

type sent struct {
	to  entity.Address
	cmd proto.Message
}

func (f *fakeCaller) Call(ctx context.Context, to entity.Address, cmd proto.Message) (proto.Message, error) {
	f.mu.Lock()
	f.calls = append(f.calls, sent{to, cmd})
	f.mu.Unlock()
	if f.answer == nil {
		return nil, errors.New("nobody answers in this test")
	}
	return f.answer(ctx, to, cmd)
}

func (f *fakeCaller) reply(m proto.Message) {
	f.answer = func(context.Context, entity.Address, proto.Message) (proto.Message, error) { return m, nil }
}

func (f *fakeCaller) fail(err error) {
	f.answer = func(context.Context, entity.Address, proto.Message) (proto.Message, error) { return nil, err }
}

func (f *fakeCaller) sent() []sent {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.calls)
}

// fakeViews keeps rows and lists them as the interface says.
type fakeViews struct {
	mu    sync.Mutex
	rows  []persistence.Row
	lists int
	err   error
	// changes are all puts, by mark.
	changes []persistence.Change
	kinds   []string
}

func (v *fakeViews) put(t *testing.T, row persistence.Row, body proto.Message) {
	t.Helper()
	b, err := proto.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	row.Body = b
	v.mu.Lock()
	defer v.mu.Unlock()
	v.rows = slices.DeleteFunc(v.rows, func(r persistence.Row) bool { return r.Kind == row.Kind && r.ID == row.ID })
	v.rows = append(v.rows, row)
	v.changes = append(v.changes, persistence.Change{ID: row.ID, Version: row.Version, Mark: uint64(len(v.changes)) + 1})
	v.kinds = append(v.kinds, row.Kind)
	slices.SortFunc(v.rows, func(a, b persistence.Row) int {
		return cmp.Or(cmp.Compare(b.SortMs, a.SortMs), cmp.Compare(b.ID, a.ID))
	})
}

func (v *fakeViews) GetRows(_ context.Context, kind string, ids []string) (map[string]persistence.Row, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	out := map[string]persistence.Row{}
	for _, r := range v.rows {
		if r.Kind == kind && slices.Contains(ids, r.ID) {
			out[r.ID] = r
		}
	}
	return out, v.err
}

func (v *fakeViews) ListRows(_ context.Context, q persistence.ListQuery) ([]persistence.Row, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.lists++
	var out []persistence.Row
	for _, r := range v.rows {
		after := q.AfterID == "" || r.SortMs < q.AfterSortMs || r.SortMs == q.AfterSortMs && r.ID < q.AfterID
		if r.Kind == q.Kind && (q.Owner == "" || r.Owner == q.Owner) && (q.State == "" || r.State == q.State) && after && len(out) < q.Limit {
			out = append(out, r)
		}
	}
	return out, v.err
}

func (v *fakeViews) Changes(_ context.Context, kind string, since uint64) iter.Seq2[persistence.Change, error] {
	return func(yield func(persistence.Change, error) bool) {
		v.mu.Lock()
		all, kinds, err := slices.Clone(v.changes), slices.Clone(v.kinds), v.err
		v.mu.Unlock()
		if err != nil {
			yield(persistence.Change{}, err)
			return
		}
		for i, c := range all {
			if kinds[i] == kind && c.Mark > since && !yield(c, nil) {
				return
			}
		}
	}
}

func (v *fakeViews) LastChange(context.Context, string) (uint64, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return uint64(len(v.changes)), v.err
}

// fakeAccounts notes which of its methods were called.
type fakeAccounts struct {
	mu      sync.Mutex
	called  []string
	session *auth.Session
	user    *accountpb.User
	key     *apikeypb.Key
	keyErr  error
	demoted bool
	refusal *commonpb.Refusal
	err     error
}

func (f *fakeAccounts) note(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.called = append(f.called, name)
}

func (f *fakeAccounts) Register(context.Context, string, string, string) (*auth.Session, *commonpb.Refusal, error) {
	f.note("Register")
	return f.session, f.refusal, f.err
}

func (f *fakeAccounts) LogIn(context.Context, string, string) (*auth.Session, *commonpb.Refusal, error) {
	f.note("LogIn")
	return f.session, f.refusal, f.err
}

func (f *fakeAccounts) Refresh(context.Context, string) (*auth.Session, *commonpb.Refusal, error) {
	f.note("Refresh")
	return f.session, f.refusal, f.err
}

func (f *fakeAccounts) LogOut(context.Context, string, bool) (*commonpb.Refusal, error) {
	f.note("LogOut")
	return f.refusal, f.err
}

func (f *fakeAccounts) ChangePassword(context.Context, string, string, string) (*auth.Session, *commonpb.Refusal, error) {
	f.note("ChangePassword")
	return f.session, f.refusal, f.err
}

func (f *fakeAccounts) UpdateProfile(context.Context, string, *string, int64) (*accountpb.User, *commonpb.Refusal, error) {
	f.note("UpdateProfile")
	return f.user, f.refusal, f.err
}

func (f *fakeAccounts) SetRoles(context.Context, string, string, []accountpb.Role) (*accountpb.User, *commonpb.Refusal, error) {
	f.note("SetRoles")
	return f.user, f.refusal, f.err
}

func (f *fakeAccounts) Get(_ context.Context, id string) (*accountpb.User, *commonpb.Refusal, error) {
	f.note("Get")
	if f.user != nil && f.user.Id != id {
		return nil, &commonpb.Refusal{Reason: commonpb.Reason_REASON_NOT_FOUND}, nil
	}
	return f.user, f.refusal, f.err
}

func (f *fakeAccounts) CreateAPIKey(context.Context, string, string, []accountpb.Role, time.Time) (*apikeypb.Key, string, *commonpb.Refusal, error) {
	f.note("CreateAPIKey")
	return f.key, "the secret", f.refusal, f.err
}

func (f *fakeAccounts) RevokeAPIKey(context.Context, string, string) (*apikeypb.Key, *commonpb.Refusal, error) {
	f.note("RevokeAPIKey")
	return f.key, f.refusal, f.err
}

// refuseKeys has every key refused, or taken with nil.
func (f *fakeAccounts) refuseKeys(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.keyErr = err
}

// AuthenticateAPIKey takes what a token of these tests looks like.
func (f *fakeAccounts) AuthenticateAPIKey(_ context.Context, secret string) (auth.Claims, error) {
	f.mu.Lock()
	err := f.keyErr
	f.mu.Unlock()
	if err != nil {
		return auth.Claims{}, err
	}
	claims, err := fakeTokens{}.Verify(secret, time.Time{})
	if err != nil {
		return claims, auth.ErrAPIKey
	}
	return claims, nil
}

func (f *fakeAccounts) IsOperator(context.Context, string) (bool, error) {
	f.note("IsOperator")
	return !f.demoted, f.err
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

var _ io.Writer = (*syncBuffer)(nil)

func withLogger(c gateway.Config) gateway.Config {
	c.Logger = slog.New(slog.DiscardHandler)
	return c
}
