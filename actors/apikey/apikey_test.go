package apikey

import (
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"pgregory.net/rapid"

	"stampede/proto/gen/accountpb"
	"stampede/proto/gen/apikeypb"
	"stampede/proto/gen/commonpb"
)

const (
	customer = accountpb.Role_ROLE_CUSTOMER
	staff    = accountpb.Role_ROLE_STAFF
	operator = accountpb.Role_ROLE_OPERATOR
	keyID    = "key_aaaaaaaaaaaaaaaaaaaaaaaaae"
)

var (
	start = time.UnixMilli(1_700_000_000_000)
	right = bytes.Repeat([]byte{7}, SecretHashBytes)
	wrong = bytes.Repeat([]byte{8}, SecretHashBytes)
	root  = &commonpb.Actor{UserId: "usr_root", Staff: true}
)

func command() *apikeypb.Create {
	return &apikeypb.Create{
		Name: "warehouse", Roles: []accountpb.Role{staff, customer, staff}, SecretHash: right, Actor: root,
		ExpiresAtMs: start.Add(time.Hour).UnixMilli(),
	}
}

// one is one key's actor. Every event goes through its stored form.
type one struct {
	t interface {
		Helper()
		Fatalf(format string, args ...any)
	}
	s      *State
	now    time.Time
	events []*apikeypb.Event
}

func (h *one) do(cmd proto.Message) *apikeypb.KeyReply {
	h.t.Helper()
	before := proto.Clone(Snapshot(h.s))
	events, reply := Decide(h.s, cmd, h.now)
	if !proto.Equal(before, Snapshot(h.s)) {
		h.t.Fatalf("Decide(%T) changed the state", cmd)
	}
	for _, e := range events {
		b, err := proto.Marshal(e)
		stored := &apikeypb.Event{}
		if err == nil {
			err = proto.Unmarshal(b, stored)
		}
		if err != nil {
			h.t.Fatalf("store %T: %v", e.Event, err)
		}
		h.events = append(h.events, stored)
		Evolve(h.s, stored)
	}
	return reply.(*apikeypb.KeyReply)
}

func (h *one) key(cmd proto.Message) *apikeypb.Key {
	h.t.Helper()
	r := h.do(cmd)
	if r.Refusal != nil || r.Key == nil {
		h.t.Fatalf("%T refused: %v", cmd, r.Refusal)
	}
	return r.Key
}

func (h *one) refused(cmd proto.Message, reason commonpb.Reason, field ...string) {
	h.t.Helper()
	n := len(h.events)
	r := h.do(cmd)
	if r.Refusal.GetReason() != reason || !slices.Equal(r.Refusal.Field, field) || r.Key != nil || r.Refusal.Message == "" || len(h.events) != n {
		h.t.Fatalf("%T: %v, %d events; want %v at %q", cmd, r, len(h.events)-n, reason, field)
	}
}

func made(t *testing.T) *one {
	t.Helper()
	h := &one{t: t, s: New(keyID), now: start}
	h.key(command())
	return h
}

func TestCreate(t *testing.T) {
	h := made(t)
	want := &apikeypb.Key{
		Id: keyID, Name: "warehouse", Roles: []accountpb.Role{customer, staff}, CreatedAtMs: start.UnixMilli(), ExpiresAtMs: start.Add(time.Hour).UnixMilli(), Version: 1,
	}
	if diff := cmp.Diff(want, h.key(command()), protocmp.Transform()); diff != "" { // sent again
		t.Fatal(diff)
	}
	if len(h.events) != 1 {
		t.Fatalf("sent again, it wrote: %v", h.events)
	}
	other := command()
	other.SecretHash = wrong
	h.refused(other, commonpb.Reason_REASON_CONFLICT, "id")
	for name, c := range map[string]struct {
		change func(*apikeypb.Create)
		field  string
	}{
		"no name":        {func(c *apikeypb.Create) { c.Name = " " }, "name"},
		"long name":      {func(c *apikeypb.Create) { c.Name = strings.Repeat("ä", MaxNameCharacters+1) }, "name"},
		"control":        {func(c *apikeypb.Create) { c.Name = "a\nb" }, "name"},
		"no UTF-8":       {func(c *apikeypb.Create) { c.Name = "\xff" }, "name"},
		"no role":        {func(c *apikeypb.Create) { c.Roles = nil }, "roles"},
		"unknown role":   {func(c *apikeypb.Create) { c.Roles = []accountpb.Role{4} }, "roles"},
		"unspecified":    {func(c *apikeypb.Create) { c.Roles = []accountpb.Role{0, 1} }, "roles"},
		"expired":        {func(c *apikeypb.Create) { c.ExpiresAtMs = start.UnixMilli() }, "expiresAt"},
		"before time":    {func(c *apikeypb.Create) { c.ExpiresAtMs = -1 }, "expiresAt"},
		"for ever":       {func(c *apikeypb.Create) { c.ExpiresAtMs = start.Add(LongestLife).UnixMilli() + 1 }, "expiresAt"},
		"no secret":      {func(c *apikeypb.Create) { c.SecretHash = nil }, "secretHash"},
		"a short secret": {func(c *apikeypb.Create) { c.SecretHash = right[1:] }, "secretHash"},
	} {
		t.Run(name, func(t *testing.T) {
			h := &one{t: t, s: New(keyID), now: start}
			cmd := command()
			c.change(cmd)
			h.refused(cmd, commonpb.Reason_REASON_INVALID, c.field)
		})
	}
}

func TestAuthenticate(t *testing.T) {
	good, bad := &apikeypb.Authenticate{SecretHash: right}, commonpb.Reason_REASON_BAD_CREDENTIALS
	(&one{t: t, s: New(keyID), now: start}).refused(good, bad)
	(&one{t: t, s: New(keyID), now: start}).refused(&apikeypb.Authenticate{}, bad)
	h := made(t)
	h.refused(&apikeypb.Authenticate{SecretHash: wrong}, bad)
	h.refused(&apikeypb.Authenticate{}, bad)

	// A use is written down once a minute.
	for _, step := range []struct {
		after  time.Duration
		used   time.Duration
		events int
	}{
		{0, 0, 2},
		{0, 0, 2},
		{UseShownEvery - time.Millisecond, 0, 2},
		{UseShownEvery, UseShownEvery, 3},
		{2*UseShownEvery - time.Millisecond, UseShownEvery, 3},
		{time.Hour - time.Millisecond, time.Hour - time.Millisecond, 4},
	} {
		h.now = start.Add(step.after)
		if key := h.key(good); key.LastUsedAtMs != start.Add(step.used).UnixMilli() || len(h.events) != step.events {
			t.Fatalf("after %v: used %d ms after the start, %d events", step.after, key.LastUsedAtMs-start.UnixMilli(), len(h.events))
		}
	}
	h.now = start.Add(time.Hour)
	h.refused(good, bad) // expired

	endless := command()
	endless.ExpiresAtMs = 0
	h = &one{t: t, s: New(keyID), now: start}
	h.key(endless)
	h.now = start.Add(100 * 365 * 24 * time.Hour)
	h.key(good)
}

func TestRevoke(t *testing.T) {
	(&one{t: t, s: New(keyID), now: start}).refused(&apikeypb.Revoke{}, commonpb.Reason_REASON_NOT_FOUND, "id")
	h := made(t)
	first := h.key(&apikeypb.Revoke{Actor: root})
	h.now = h.now.Add(time.Second)
	again := h.key(&apikeypb.Revoke{Actor: root})
	if first.RevokedAtMs != start.UnixMilli() || !proto.Equal(first, again) || len(h.events) != 2 {
		t.Fatalf("%v, then %v, %d events", first, again, len(h.events))
	}
	h.refused(&apikeypb.Authenticate{SecretHash: right}, commonpb.Reason_REASON_BAD_CREDENTIALS)
	if key := h.key(&apikeypb.Get{}); key.RevokedAtMs == 0 {
		t.Fatal("it does not say that it is revoked")
	}
	h.key(command()) // a late repeat of its making does not bring it back
	h.refused(&apikeypb.Authenticate{SecretHash: right}, commonpb.Reason_REASON_BAD_CREDENTIALS)
}

func TestOtherCommands(t *testing.T) {
	(&one{t: t, s: New(keyID), now: start}).refused(&apikeypb.Get{}, commonpb.Reason_REASON_NOT_FOUND, "id")
	made(t).refused(&accountpb.Get{}, commonpb.Reason_REASON_INVALID)
	for _, cmd := range []proto.Message{&commonpb.Tick{}, &commonpb.Continue{}} {
		if events, reply := Decide(made(t).s, cmd, start); events != nil || reply != nil {
			t.Errorf("%T: %v %v", cmd, events, reply)
		}
	}
}

// Whatever happened, the state is what the events say, also from a snapshot on;
// and a key that is revoked or expired is never taken.
func TestHistories(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		h := &one{t: rt, s: New(keyID), now: start}
		snapshotAt, snapshot := 0, []byte(nil)
		revoked := false
		for range rapid.IntRange(1, 40).Draw(rt, "steps") {
			h.now = h.now.Add(time.Duration(rapid.IntRange(0, 300).Draw(rt, "seconds")) * time.Second)
			hash := rapid.SampledFrom([][]byte{right, wrong}).Draw(rt, "hash")
			switch rapid.SampledFrom([]string{"create", "use", "use", "use", "revoke", "snapshot"}).Draw(rt, "what") {
			case "create":
				cmd := command()
				cmd.SecretHash = hash
				h.do(cmd)
			case "use":
				r := h.do(&apikeypb.Authenticate{SecretHash: hash})
				if r.Refusal == nil && (revoked || !h.now.Before(start.Add(time.Hour)) || !bytes.Equal(hash, h.s.state.SecretHash)) {
					rt.Fatalf("taken")
				}
			case "revoke":
				revoked = h.do(&apikeypb.Revoke{Actor: root}).Refusal == nil || revoked
			case "snapshot":
				b, err := proto.Marshal(Snapshot(h.s))
				if err != nil {
					rt.Fatal(err)
				}
				snapshotAt, snapshot = len(h.events), b
			}
			restored, err := Restore(keyID, snapshot)
			if err != nil {
				rt.Fatal(err)
			}
			for _, from := range []struct {
				s      *State
				events []*apikeypb.Event
			}{{New(keyID), h.events}, {restored, h.events[snapshotAt:]}} {
				for _, e := range from.events {
					Evolve(from.s, e)
				}
				if !proto.Equal(Snapshot(from.s), Snapshot(h.s)) {
					rt.Fatalf("state differs:\n got %v\nwant %v", Snapshot(from.s), Snapshot(h.s))
				}
			}
		}
	})
}

func TestEvolveRefusesWhatCannotBe(t *testing.T) {
	revoked := &apikeypb.Event{Event: &apikeypb.Event_Revoked{Revoked: &apikeypb.Revoked{}}}
	ended := made(t)
	ended.key(&apikeypb.Revoke{})
	for name, tc := range map[string]struct {
		state *State
		event *apikeypb.Event
	}{
		"made twice":    {made(t).s, &apikeypb.Event{Event: &apikeypb.Event_Created{Created: &apikeypb.Created{}}}},
		"before it is":  {New(keyID), revoked},
		"revoked twice": {ended.s, revoked},
		"nothing":       {made(t).s, &apikeypb.Event{}},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Fatal("applied")
				}
			}()
			Evolve(tc.state, tc.event)
		})
	}
	if _, err := Restore(keyID, []byte{0xff}); err == nil {
		t.Error("took a broken snapshot")
	}
	b, err := proto.Marshal(Snapshot(made(t).s))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Restore("key_other", b); err == nil {
		t.Error("took another key's snapshot")
	}
}

func TestIDs(t *testing.T) {
	id := IDOf([16]byte{0, 1, 2, 255})
	if !IsID(id) || !strings.HasPrefix(id, "key_") {
		t.Fatalf("%q is none", id)
	}
	for _, bad := range []string{"", "key_", "usr_" + id[4:], id + "a", id[:29], strings.ToUpper(id), "key_" + strings.Repeat("a", 25) + "b", "key_" + strings.Repeat("1", 26)} {
		if IsID(bad) {
			t.Errorf("%q passes for an id", bad)
		}
	}
}

// golden is one of every event as it has been stored. Their bytes are in
// testdata and stay there for ever: journals hold them.
func golden() map[string]*apikeypb.Event {
	const ms = 1_700_000_000_000
	return map[string]*apikeypb.Event{
		"created-1": {AtMs: ms, Event: &apikeypb.Event_Created{Created: &apikeypb.Created{
			Name: "warehouse", Roles: []accountpb.Role{customer, operator}, ExpiresAtMs: ms + 1, SecretHash: right, ActorId: "usr_root",
		}}},
		"used-1":    {AtMs: ms, Event: &apikeypb.Event_Used{Used: &apikeypb.Used{}}},
		"revoked-1": {AtMs: ms, Event: &apikeypb.Event_Revoked{Revoked: &apikeypb.Revoked{ActorId: "usr_root"}}},
	}
}

func TestGoldenEvents(t *testing.T) {
	for name, want := range golden() {
		path := filepath.Join("testdata", name+".hex")
		stored, err := os.ReadFile(path)
		if err != nil && os.Getenv("GOLDEN") == "add" {
			b, err := proto.MarshalOptions{Deterministic: true}.Marshal(want)
			if err != nil {
				t.Fatal(err)
			}
			stored = []byte(hex.EncodeToString(b) + "\n")
			if err := os.WriteFile(path, stored, 0o644); err != nil {
				t.Fatal(err)
			}
		} else if err != nil {
			t.Fatalf("%v (GOLDEN=add writes files that are missing)", err)
		}
		b, err := hex.DecodeString(strings.TrimSpace(string(stored)))
		if err != nil {
			t.Fatal(err)
		}
		got := &apikeypb.Event{}
		if err := proto.Unmarshal(b, got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if files, err := filepath.Glob("testdata/*.hex"); err != nil || len(files) != len(golden()) {
		t.Errorf("%d files for %d events: %v", len(files), len(golden()), err)
	}
}
