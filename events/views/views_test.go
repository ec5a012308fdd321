package views_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"stampede/actors/entity"
	"stampede/actors/order"
	"stampede/actors/product"
	"stampede/events"
	"stampede/events/internal/logtest"
	"stampede/events/views"
	"stampede/internal/memstore"
	"stampede/persistence"
	"stampede/persistence/sqlite"
	"stampede/proto/gen/accountpb"
	"stampede/proto/gen/commonpb"
	"stampede/proto/gen/journalpb"
	"stampede/proto/gen/orderpb"
	"stampede/proto/gen/productpb"
	"stampede/proto/gen/skupb"
)

func config(j *logtest.Journal, v persistence.Views, epoch entity.Epoch) views.Config {
	return views.Config{
		Views: v, Streams: j, Registerer: prometheus.NewRegistry(), Logger: slog.New(slog.DiscardHandler),
		Log: events.Config{
			Journal: j, Watermarks: j, Epoch: epoch, Source: j.Source(epoch), Ended: logtest.ErrEnded, Logger: slog.New(slog.DiscardHandler),
		},
	}
}

func mustNew(t *testing.T, cfg views.Config) *views.Projector {
	t.Helper()
	p, err := views.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// expected folds every stream anew, each kind in its own plain way.
func expected(t *testing.T, j *logtest.Journal, epochs ...entity.Epoch) map[string]proto.Message {
	t.Helper()
	streams := map[string]bool{}
	out := map[string]proto.Message{}
	for _, e := range epochs {
		for _, rec := range j.Records(e) {
			if streams[rec.Stream()] {
				continue
			}
			streams[rec.Stream()] = true
			out[rec.Stream()] = foldStream(t, j, rec.Kind, rec.ID)
		}
	}
	return out
}

func foldStream(t *testing.T, j *logtest.Journal, kind, id string) proto.Message {
	t.Helper()
	o, p := order.New(id), product.New(id)
	user, level := &accountpb.User{Id: id}, &skupb.Level{Sku: id}
	for rec, err := range j.ReadStream(t.Context(), kind+"/"+id, 0) {
		if err != nil {
			t.Fatal(err)
		}
		var entries journalpb.Batch
		unmarshal(t, rec.Events, &entries)
		for i, entry := range entries.Entries {
			switch kind {
			case "order":
				var e orderpb.Event
				unmarshal(t, entry.Event, &e)
				order.Evolve(o, &e)
			case "product":
				var e productpb.Event
				unmarshal(t, entry.Event, &e)
				product.Evolve(p, &e)
			case "account":
				var e accountpb.Event
				unmarshal(t, entry.Event, &e)
				user.Version = int64(rec.FirstVersion) + int64(i)
				if r := e.GetRolesChanged(); r != nil {
					user.Roles = r.Roles
				}
				if r := e.GetRegistered(); r != nil {
					user.Email, user.Name, user.CreatedAtMs = r.Email, r.Name, e.AtMs
				}
			case "sku":
				var e skupb.Event
				unmarshal(t, entry.Event, &e)
				level.Stock, level.Version, level.AsOfMs = e.After, int64(rec.FirstVersion)+int64(i), e.AtMs
			}
		}
	}
	return map[string]proto.Message{"order": order.Snapshot(o), "product": product.Snapshot(p), "account": user, "sku": level}[kind]
}

func unmarshal(t *testing.T, b []byte, m proto.Message) {
	t.Helper()
	if err := proto.Unmarshal(b, m); err != nil {
		t.Fatal(err)
	}
}

func bodyOf(kind string) proto.Message {
	return map[string]proto.Message{"order": &orderpb.Order{}, "product": &productpb.Product{}, "account": &accountpb.User{}, "sku": &skupb.Level{}}[kind]
}

func row(t *testing.T, v persistence.Views, kind, id string) (persistence.Row, bool) {
	t.Helper()
	rows, err := v.GetRows(t.Context(), kind, []string{id})
	if err != nil {
		t.Fatal(err)
	}
	r, ok := rows[id]
	return r, ok
}

func checkRows(t *testing.T, v persistence.Views, want map[string]proto.Message) {
	t.Helper()
	for stream, message := range want {
		kind, id, _ := strings.Cut(stream, "/")
		r, ok := row(t, v, kind, id)
		if !ok {
			t.Errorf("%s has no row", stream)
			continue
		}
		got := bodyOf(kind)
		unmarshal(t, r.Body, got)
		if d := cmp.Diff(message, got, protocmp.Transform()); d != "" {
			t.Errorf("%s: %s", stream, d)
		}
	}
}

// flaky fails some of the calls of the views beneath, some of them after they
// were done.
type flaky struct {
	persistence.Views
	mu   sync.Mutex
	rand *rand.Rand
	puts int
	rows int
}

var errFlaky = errors.New("store unavailable")

func (f *flaky) fails(percent int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.rand != nil && f.rand.IntN(100) < percent
}

func (f *flaky) PutRows(ctx context.Context, rows []persistence.Row) error {
	f.mu.Lock()
	f.puts++
	f.rows += len(rows)
	f.mu.Unlock()
	if f.fails(20) {
		return errFlaky
	}
	if err := f.Views.PutRows(ctx, rows); err != nil {
		return err
	}
	if f.fails(10) {
		return errFlaky
	}
	return nil
}

func (f *flaky) GetRows(ctx context.Context, kind string, ids []string) (map[string]persistence.Row, error) {
	if f.fails(20) {
		return nil, errFlaky
	}
	return f.Views.GetRows(ctx, kind, ids)
}

// TestRowsAreTheFoldOfTheirStreams, with a store that fails, a cache that is
// too small, a restart from an old watermark, and never marked before written.
func TestRowsAreTheFoldOfTheirStreams(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				j := logtest.NewJournal(2)
				store := memstore.New()
				v := &flaky{Views: store, rand: rand.New(rand.NewPCG(seed, 4))}
				j.OnSave = func(_ string, epoch entity.Epoch, position uint64) error {
					for _, rec := range j.Records(epoch) {
						if rec.Position > position {
							break
						}
						if r, ok := row(t, store, rec.Kind, rec.ID); !ok || r.Version < rec.LastVersion {
							t.Errorf("watermark %d of epoch %d, but the row of %s is at version %d", position, epoch, rec.Stream(), r.Version)
						}
					}
					if v.fails(30) {
						return errFlaky
					}
					return nil
				}
				shop := logtest.NewShop(j, seed, 3)
				shop.Trade(1, 100)
				cfg := config(j, v, 1)
				cfg.CachedRows = 2
				ctx, crash := context.WithCancel(t.Context())
				done := make(chan error, 1)
				go func() { done <- mustNew(t, cfg).Run(ctx) }()
				time.Sleep(time.Duration(seed) * 20 * time.Millisecond)
				crash()
				if err := <-done; err != nil && !errors.Is(err, errFlaky) { // its watermarks may or may not have been saved
					t.Fatal(err)
				}

				shop.Trade(2, 100)
				j.End(2)
				if err := mustNew(t, config(j, v, 2)).Run(t.Context()); err != nil && !errors.Is(err, errFlaky) {
					t.Fatal(err)
				}
				checkRows(t, store, expected(t, j, 1, 2))
			})
		})
	}
}

// TestLogsThatRaceCannotTakeRowsBack: two projectors get the records of three
// incarnations, which had the same actors in turn, in any interleaving.
func TestLogsThatRaceCannotTakeRowsBack(t *testing.T) {
	for seed := range uint64(30) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := rand.New(rand.NewPCG(seed, 5))
				j := logtest.NewJournal(3)
				store := memstore.New()
				shop := logtest.NewShop(j, seed, 3)
				for range 60 {
					shop.Trade(entity.Epoch(1+r.IntN(3)), 1+r.IntN(4))
				}
				projectors := []*views.Projector{mustNew(t, config(j, store, 4)), mustNew(t, config(j, store, 5))}
				at := map[entity.Epoch]int{}
				for left := 3; left > 0; {
					epoch := entity.Epoch(1 + r.IntN(3))
					records := j.Records(epoch)
					if at[epoch] == len(records) {
						left = 0
						for e := range entity.Epoch(3) {
							if at[e+1] < len(j.Records(e+1)) {
								left++
							}
						}
						continue
					}
					from := at[epoch]
					to := min(len(records), from+1+r.IntN(10))
					at[epoch] = to
					if err := projectors[r.IntN(2)].Take(t.Context(), epoch, records[from:to], records[to-1].Position); err != nil {
						t.Fatal(err)
					}
				}
				checkRows(t, store, expected(t, j, 1, 2, 3))
			})
		})
	}
}

func TestRowFields(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, store := logtest.NewJournal(1), memstore.New()
		price := &commonpb.Money{MinorUnits: 100, Currency: "EUR"}
		pid := product.ID("mug")
		j.Append(1, "product", pid, &productpb.Event{AtMs: 40, Event: &productpb.Event_Created{Created: &productpb.Created{
			Product: &productpb.Product{Id: pid, Slug: "mug", Name: "Mug", Version: 1, CreatedAtMs: 40, Published: true, Variants: []*productpb.Variant{{Sku: "A", Price: price}}},
		}}})
		j.Append(1, "account", "usr_1",
			&accountpb.Event{AtMs: 50, Event: &accountpb.Event_Registered{Registered: &accountpb.Registered{Email: "ada@example.org", Name: "Ada", PasswordHash: "$argon2id$secret", Roles: []accountpb.Role{accountpb.Role_ROLE_CUSTOMER}}}},
			&accountpb.Event{AtMs: 51, Event: &accountpb.Event_SessionStarted{SessionStarted: &accountpb.SessionStarted{Session: &accountpb.Session{FamilyId: "f", TokenHash: []byte("token-hash")}}}},
			&accountpb.Event{AtMs: 52, Event: &accountpb.Event_ProfileUpdated{ProfileUpdated: &accountpb.ProfileUpdated{Name: "Ada L."}}},
		)
		oid := order.ID("usr_1", "key")
		j.Append(1, "order", oid,
			&orderpb.Event{AtMs: 60, Event: &orderpb.Event_Placed{Placed: &orderpb.Placed{CustomerId: "usr_1", IdempotencyKey: "key", Lines: []*orderpb.PlaceLine{{Sku: "A", Quantity: 1}}, HoldMs: 1000}}},
			&orderpb.Event{AtMs: 60, Event: &orderpb.Event_Reserved{Reserved: &orderpb.Reserved{Total: price, ExpiresAtMs: 1060, Lines: []*orderpb.LineHold{{Sku: "A", Quantity: 1, SkuVersion: 2, UnitPrice: price, Name: "Mug"}}}}},
		)
		j.Append(1, "sku", "A",
			&skupb.Event{AtMs: 60, After: &skupb.Stock{Available: 5}, Event: &skupb.Event_Configured{Configured: &skupb.Configured{ProductId: pid, Name: "Mug", Price: price, Active: true, InitialStock: 5}}},
			&skupb.Event{AtMs: 61, After: &skupb.Stock{Available: 4, Held: 1}, Event: &skupb.Event_Reserved{Reserved: &skupb.Reserved{OrderId: oid, Quantity: 1, ExpiresAtMs: 1060}}},
		)
		for _, rec := range j.Records(1) {
			if rec.Kind == "sku" || rec.Kind == "order" {
				rec.WakeAtMs = 1060
				rec.Checksum = rec.Sum()
			}
		}
		j.End(1)
		p := mustNew(t, config(j, store, 1))
		if err := p.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := p.WaitFor(t.Context(), 4); err != nil || p.Lag() != 0 {
			t.Error(err, p.Lag())
		}
		for _, want := range []persistence.Row{
			{Kind: "product", ID: pid, Version: 1, State: "published", SortMs: 40},
			{Kind: "account", ID: "usr_1", Version: 3, SortMs: 50},
			{Kind: "order", ID: oid, Version: 2, Owner: "usr_1", State: "RESERVED", SortMs: 60, WakeAtMs: 1060},
			{Kind: "sku", ID: "A", Version: 2, WakeAtMs: 1060},
		} {
			got, _ := row(t, store, want.Kind, want.ID)
			body := got.Body
			got.Body = nil
			if d := cmp.Diff(want, got); d != "" {
				t.Error(d)
			}
			if bytes.Contains(body, []byte("argon2id")) || bytes.Contains(body, []byte("token-hash")) {
				t.Errorf("%s: a secret is in the row", want.Kind)
			}
		}
		due, err := store.DueRows(t.Context(), time.UnixMilli(1060), 10)
		if err != nil || len(due) != 2 {
			t.Errorf("%d rows are due, %v", len(due), err)
		}
		level := &skupb.Level{}
		r, _ := row(t, store, "sku", "A")
		unmarshal(t, r.Body, level)
		want := &skupb.Level{Sku: "A", Stock: &skupb.Stock{Available: 4, Held: 1}, Version: 2, AsOfMs: 61, ProductId: pid, Name: "Mug", Price: price, Active: true}
		if d := cmp.Diff(want, level, protocmp.Transform()); d != "" {
			t.Error(d)
		}

		j.Append(1, "sku", "A", &skupb.Event{AtMs: 70, After: &skupb.Stock{}, Event: &skupb.Event_Unconfigured{Unconfigured: &skupb.Unconfigured{ProductId: pid}}})
		if err := mustNew(t, config(j, store, 1)).Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		r, _ = row(t, store, "sku", "A")
		level = &skupb.Level{}
		unmarshal(t, r.Body, level)
		if level.ProductId != "" || level.Active || level.Version != 3 || r.WakeAtMs != 0 {
			t.Errorf("%v, wake at %d", level, r.WakeAtMs)
		}
	})
}

// TestRecordsOfOneAggregateBecomeOneWrite in a batch.
func TestRecordsOfOneAggregateBecomeOneWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := logtest.NewJournal(1)
		v := &flaky{Views: memstore.New()}
		for i := range 640 {
			j.Append(1, "sku", fmt.Sprintf("SKU-%d", i%2), &skupb.Event{AtMs: 1, After: &skupb.Stock{Held: int64(i)}, Event: &skupb.Event_Reserved{Reserved: &skupb.Reserved{}}})
		}
		j.End(1)
		if err := mustNew(t, config(j, v, 1)).Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if v.puts != 10 || v.rows != 20 {
			t.Errorf("%d rows in %d writes", v.rows, v.puts)
		}
	})
}

// TestACorruptStreamIsNamedAndTheOthersGoOn.
func TestACorruptStreamIsNamedAndTheOthersGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, store := logtest.NewJournal(1), memstore.New()
		event := func(n int64) *skupb.Event {
			return &skupb.Event{AtMs: 1, After: &skupb.Stock{Held: n}, Event: &skupb.Event_Reserved{Reserved: &skupb.Reserved{}}}
		}
		j.Append(1, "sku", "BAD", event(1))
		j.Append(1, "sku", "BAD", event(2)).Checksum++
		j.Append(1, "sku", "BAD", event(3))
		j.Append(1, "order", "ord_impossible", &orderpb.Event{Event: &orderpb.Event_Confirmed{Confirmed: &orderpb.Confirmed{}}})
		j.Append(1, "sale", "sale_1", event(1))
		j.Append(1, "sku", "GOOD", event(1))
		j.Append(1, "sku", "BAD", event(4))
		j.End(1)
		var logged bytes.Buffer
		cfg := config(j, store, 1)
		cfg.Logger = slog.New(slog.NewTextHandler(&logged, nil))
		cfg.Log.Logger = cfg.Logger
		if err := mustNew(t, cfg).Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if r, _ := row(t, store, "sku", "GOOD"); r.Version != 1 {
			t.Errorf("the good row is at version %d", r.Version)
		}
		if r, _ := row(t, store, "sku", "BAD"); r.Version > 1 {
			t.Errorf("the corrupt row is at version %d", r.Version)
		}
		if _, ok := row(t, store, "order", "ord_impossible"); ok {
			t.Error("an impossible order has a row")
		}
		for _, want := range []string{"sku/BAD record 2", "order/ord_impossible", "sale/sale_1"} {
			if !strings.Contains(logged.String(), want) {
				t.Errorf("the log does not name %s:\n%s", want, &logged)
			}
		}
		if m, _ := j.Watermarks(t.Context(), views.ReaderName); m[1] != 7 {
			t.Errorf("watermark %d", m[1])
		}
	})
}

// TestARowThatCannotBeReadIsRebuilt.
func TestARowThatCannotBeReadIsRebuilt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, store := logtest.NewJournal(2), memstore.New()
		shop := logtest.NewShop(j, 1, 3)
		shop.Trade(1, 30)
		if err := store.PutRows(t.Context(), []persistence.Row{{Kind: "sku", ID: "SKU-1", Version: 1, Body: []byte("\xff\xff")}}); err != nil {
			t.Fatal(err)
		}
		if err := j.SaveWatermark(t.Context(), views.ReaderName, 1, events.Finished); err != nil {
			t.Fatal(err)
		}
		shop.Trade(2, 60)
		j.End(2)
		if err := mustNew(t, config(j, store, 2)).Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		checkRows(t, store, expected(t, j, 2))
	})
}

// TestOnSQLite: the embedded store itself keeps the rows.
func TestOnSQLite(t *testing.T) {
	store, err := sqlite.Open(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	}()
	j := logtest.NewJournal(1)
	logtest.NewShop(j, 5, 5).Trade(1, 500)
	j.End(1)
	cfg := config(j, store, 1)
	cfg.CachedRows = 8
	if err := mustNew(t, cfg).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	checkRows(t, store, expected(t, j, 1))
}
