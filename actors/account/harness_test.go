package account

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"stampede/actors/roster"
	"stampede/proto/gen/accountpb"
	"stampede/proto/gen/commonpb"
	"stampede/proto/gen/rosterpb"
)

var (
	start  = time.UnixMilli(1_700_000_000_000).UTC()
	secret = []byte("0123456789abcdef0123456789abcdef")
)

const (
	email = "ada@example.com"
	hash1 = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$MQ"
	hash2 = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$Mg"
)

// token is the hash of the n-th made-up token.
func token(n byte) []byte { return bytes.Repeat([]byte{n}, TokenHashBytes) }

func sessionOf(family string, n byte) *accountpb.Session {
	return &accountpb.Session{FamilyId: family, TokenHash: token(n), ExpiresAtMs: start.Add(30 * 24 * time.Hour).UnixMilli()}
}

// failer is a *testing.T or a *rapid.T.
type failer interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// one is one account's actor.
type one struct {
	t      failer
	s      *State
	events []*accountpb.Event
	now    time.Time
	roster *roster.State
}

func newOne(t failer) *one {
	h := &one{t: t, s: New(ID(secret, email)), now: start, roster: roster.New(roster.ID)}
	h.join("usr_root")
	return h
}

// join counts another operator.
func (h *one) join(user string) {
	h.t.Helper()
	h.ask([]Ask{{Command: &rosterpb.Join{UserId: user, Version: 1}}})
}

// registered has family a with token 1.
func registeredOne(t failer) *one {
	t.Helper()
	h := newOne(t)
	h.user(&accountpb.Register{Email: email, Name: "Ada", PasswordHash: hash1, Session: sessionOf("a", 1)})
	return h
}

// do decides until there is an answer, with a roster that answers.
func (h *one) do(cmd proto.Message) proto.Message {
	h.t.Helper()
	var heard map[string]proto.Message
	for range 10 {
		d := h.decide(cmd, heard)
		if heard = h.ask(d.Asks); heard == nil {
			// As the runtime does: what the state implies is asked, and the command goes on waiting.
			if asks := Pending(h.s); len(asks) > 0 {
				h.decide(&commonpb.Continue{}, h.ask(asks))
			}
		}
		if d.Reply != nil {
			return d.Reply
		}
	}
	h.t.Fatalf("%T is never answered", cmd)
	return nil
}

// ask is what the roster answers; nil when nothing is asked.
func (h *one) ask(asks []Ask) map[string]proto.Message {
	var heard map[string]proto.Message
	for _, a := range asks {
		events, reply := roster.Decide(h.roster, a.Command, h.now)
		for _, e := range events {
			roster.Evolve(h.roster, e)
		}
		heard = map[string]proto.Message{a.Key: reply}
	}
	return heard
}

// decide decides and applies; it fails if Decide changed the state.
func (h *one) decide(cmd proto.Message, heard map[string]proto.Message) Decision {
	h.t.Helper()
	before := proto.Clone(Snapshot(h.s))
	d := Decide(h.s, cmd, h.now, heard)
	if diff := cmp.Diff(before, Snapshot(h.s), protocmp.Transform()); diff != "" {
		h.t.Fatalf("Decide(%T) changed the state:\n%s", cmd, diff)
	}
	for _, e := range d.Events {
		stored, err := proto.Marshal(e)
		if err != nil {
			h.t.Fatalf("an event cannot be stored: %v", err)
		}
		read := &accountpb.Event{}
		if err := proto.Unmarshal(stored, read); err != nil {
			h.t.Fatal(err)
		}
		h.events = append(h.events, read)
		Evolve(h.s, read)
	}
	return d
}

// user sends a command that must be accepted.
func (h *one) user(cmd proto.Message) *accountpb.User {
	h.t.Helper()
	r := h.do(cmd).(*accountpb.UserReply)
	if r.Refusal != nil {
		h.t.Fatalf("%T refused: %v", cmd, r.Refusal)
	}
	return r.User
}

// refused sends a command that must be refused, and returns what it said.
func (h *one) refused(cmd proto.Message, reason commonpb.Reason, field ...string) *commonpb.Refusal {
	h.t.Helper()
	reply := h.do(cmd).(*accountpb.UserReply)
	r := reply.Refusal
	if r == nil || reply.User != nil {
		h.t.Fatalf("%T accepted, want %v", cmd, reason)
	}
	if r.Reason != reason || !slices.Equal(r.Field, field) || r.Message == "" {
		h.t.Fatalf("%T refused with %v at %q (%q), want %v at %q", cmd, r.Reason, r.Field, r.Message, reason, field)
	}
	return r
}

func (h *one) families() []string {
	var out []string
	for _, s := range h.s.state.GetSessions() {
		out = append(out, s.FamilyId)
	}
	return out
}

func wantEqual(t *testing.T, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Fatalf("%s (-want +got):\n%s", what, diff)
	}
}
