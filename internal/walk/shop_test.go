package walk

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"stampede/actors"
	"stampede/actors/entity"
	"stampede/cluster"
	"stampede/events"
	"stampede/events/views"
	"stampede/gateway"
	"stampede/gateway/auth"
	"stampede/gateway/httpapi"
	"stampede/gateway/resolve"
	"stampede/payments"
	"stampede/persistence"
	"stampede/persistence/commitlog"
)

// shop is the real gateway over the real actors, log and views, in this process,
// with a clock that tests move. What it has no use for, it has not: members and
// replays.
type shop struct {
	t      testing.TB
	store  persistence.Store
	limits entity.Limits
	bank   *payments.Simulator
	keys   *auth.Keys
	tokens *auth.Tokens
	log    *syncBuffer
	ahead  atomic.Int64

	handler http.Handler
	stop    func() error
}

func openShop(t testing.TB, store persistence.Store, limits entity.Limits) *shop {
	t.Helper()
	keys, err := auth.LoadKeys(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s := &shop{t: t, store: store, limits: limits, bank: payments.NewSimulator(), keys: keys, tokens: auth.NewTokens(keys, auth.TokenOptions{}), log: &syncBuffer{}}
	s.start()
	t.Cleanup(func() {
		if err := s.stop(); err != nil {
			t.Error(err)
		}
		if said := s.log.String(); said != "" && t.Failed() {
			t.Log(said)
		}
	})
	return s
}

// start makes everything that a node has but its store.
func (s *shop) start() {
	s.t.Helper()
	logger := slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelError}))
	journal, err := commitlog.Open(context.Background(), s.store, "test", commitlog.Options{Logger: logger})
	if err != nil {
		s.t.Fatal(err)
	}
	project, err := views.New(views.Config{
		Log:   events.Config{Journal: s.store, Watermarks: s.store, Epoch: journal.Epoch(), Source: journal.Follow(views.ReaderName, 0), Ended: commitlog.ErrClosed, Logger: logger},
		Views: s.store, Streams: s.store, Logger: logger,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	read := make(chan error, 1)
	go func() { read <- project.Run(context.Background()) }()
	caller := &lateCaller{}
	rt := &entity.Runtime{Log: journal, Store: s.store, Asker: caller, Clock: s.Now, Logger: logger, Limits: s.limits}
	hosted := cluster.NewNode(logger, actors.Kinds(rt), map[string]cluster.Caller{"payment": payments.Port{Provider: s.bank}}, cluster.DefaultOptions())
	caller.Caller = hosted
	secret := []byte("0123456789abcdef0123456789abcdef")
	g, err := gateway.New(gateway.Config{
		Caller: hosted, Views: s.store, Accounts: auth.NewAccounts(hosted, s.tokens, auth.NewPasswords(2, 64), secret, s.Now), Journal: s.store,
		Cluster: alone{}, Tokens: s.tokens, Keys: s.keys, HoldFor: HoldFor, TicketKey: secret,
		Limits: gateway.Limits{HTTP: httpapi.Limits{RatePerSecond: -1}}, Logger: logger, Clock: s.Now,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.handler = g.Handler()
	s.stop = func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		err := errors.Join(hosted.Close(ctx), journal.Close(ctx))
		if ended := <-read; ended != nil && !errors.Is(ended, commitlog.ErrClosed) {
			err = errors.Join(err, ended)
		}
		return err
	}
}

// again ends all actors and begins with what the store has.
func (s *shop) again() {
	s.t.Helper()
	if err := s.stop(); err != nil {
		s.t.Fatal(err)
	}
	s.start()
}

func (s *shop) Now() time.Time { return time.Now().Add(time.Duration(s.ahead.Load())) }

func (s *shop) Advance(d time.Duration) bool {
	s.ahead.Add(int64(d))
	return true
}

func (s *shop) Token(userID string, staff bool) string {
	roles := []auth.Role{auth.Customer}
	if staff {
		roles = append(roles, auth.Staff)
	}
	token, _, err := s.tokens.Issue(userID, roles, s.Now())
	if err != nil {
		s.t.Fatal(err)
	}
	return token
}

func (s *shop) Ask(ctx context.Context, token, document string, variables map[string]any) (*Answer, error) {
	body, err := json.Marshal(map[string]any{"query": document, "variables": variables})
	if err != nil {
		return nil, err
	}
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/graphql", bytes.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+token)
	rec := httptest.NewRecorder()
	s.handler.ServeHTTP(rec, r)
	a := &Answer{}
	return a, json.Unmarshal(rec.Body.Bytes(), a)
}

type lateCaller struct{ cluster.Caller }

func (l *lateCaller) Call(ctx context.Context, to entity.Address, cmd proto.Message) (proto.Message, error) {
	return l.Caller.Call(ctx, to, cmd)
}

type syncBuffer struct {
	mu sync.Mutex
	b  strings.Builder
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

// alone is a cluster that nobody asks about.
type alone struct{ resolve.Cluster }
