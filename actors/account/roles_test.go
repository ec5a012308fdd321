package account

import (
	"fmt"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"stampede/actors/roster"
	"stampede/proto/gen/accountpb"
	"stampede/proto/gen/commonpb"
	"stampede/proto/gen/rosterpb"
)

func TestTheLastOperatorStays(t *testing.T) {
	h := registeredOne(t)
	h.roster = roster.New(roster.ID)
	h.user(&accountpb.SetRoles{Roles: []accountpb.Role{operator}})
	wantEqual(t, "counted", h.roster.Operators(), []string{h.s.id})
	h.refused(&accountpb.SetRoles{Roles: []accountpb.Role{staff}}, commonpb.Reason_REASON_CONFLICT, "roles")
	h.user(&accountpb.SetRoles{Roles: []accountpb.Role{staff, operator}}) // who stays one may change otherwise
	h.user(&accountpb.SetRoles{Roles: []accountpb.Role{operator}})
	h.join("usr_root")
	h.user(&accountpb.SetRoles{Roles: []accountpb.Role{staff}})
	wantEqual(t, "counted", h.roster.Operators(), []string{"usr_root"})
	h.user(&accountpb.SetRoles{Roles: []accountpb.Role{staff}}) // sent again
	h.user(&accountpb.SetRoles{Roles: []accountpb.Role{operator}})
	wantEqual(t, "counted", h.roster.Operators(), []string{"usr_root", h.s.id})
}

// A demotion that was allowed and never ended leaves an operator who is not
// counted; they are again when they are given their roles once more.
func TestAnUncountedOperatorIsCountedAgain(t *testing.T) {
	h := registeredOne(t)
	h.user(&accountpb.SetRoles{Roles: []accountpb.Role{operator}})
	d := h.decide(&accountpb.SetRoles{}, nil)
	h.ask(d.Asks) // and then the account's node is gone
	wantEqual(t, "counted", h.roster.Operators(), []string{"usr_root"})
	h.user(&accountpb.SetRoles{Roles: []accountpb.Role{operator}})
	wantEqual(t, "counted", h.roster.Operators(), []string{"usr_root", h.s.id})
	h.ask(d.Asks) // late
	wantEqual(t, "counted", h.roster.Operators(), []string{"usr_root", h.s.id})
}

// An operator from before operators were counted is counted when they are next active.
func TestOldOperatorsAreCounted(t *testing.T) {
	old := &accountpb.State{User: &accountpb.User{Id: ID(secret, email), Email: email, Roles: []accountpb.Role{customer, operator}, Version: 7}, PasswordHash: hash1, ChangedVersion: 7}
	b, err := proto.Marshal(old)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Restore(old.User.Id, b)
	if err != nil {
		t.Fatal(err)
	}
	asks := Pending(s)
	if len(asks) != 1 || asks[0].Kind != roster.Name || asks[0].ID != roster.ID {
		t.Fatalf("asks %v", asks)
	}
	wantEqual(t, "command", asks[0].Command, &rosterpb.Join{UserId: s.id, Version: 1})
	d := Decide(s, &commonpb.Continue{}, start, map[string]proto.Message{asks[0].Key: &rosterpb.Reply{Counted: true}})
	if len(d.Events) != 1 || d.Events[0].GetOperatorCounted() == nil {
		t.Fatalf("decided %v", d)
	}
	Evolve(s, d.Events[0])
	if asks := Pending(s); asks != nil {
		t.Fatalf("still asks %v", asks)
	}
}

// world is accounts and the roster with a network between them that loses,
// repeats and reorders, and nodes that go away in the middle.
type world struct {
	rt       *rapid.T
	accounts []*State
	roster   *roster.State
	calls    []*roleCall
	network  []message
	refused  int
}

type roleCall struct {
	account int
	cmd     proto.Message
	heard   map[string]proto.Message
	gone    bool
}

type message struct {
	ask  Ask
	call *roleCall
}

// Whatever the network and the nodes do: whoever is counted is an operator, and
// so there is always one.
func TestThereIsAlwaysAnOperator(t *testing.T) {
	refused, demoted := 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		w := &world{rt: rt, roster: roster.New(roster.ID)}
		for i := range 4 {
			s := New(fmt.Sprint("usr_", i))
			roles := []accountpb.Role{customer}
			if i == 0 {
				roles = []accountpb.Role{customer, operator}
			}
			Evolve(s, &accountpb.Event{Event: &accountpb.Event_Registered{Registered: &accountpb.Registered{Roles: roles}}})
			w.accounts = append(w.accounts, s)
		}
		for range rapid.IntRange(1, 150).Draw(rt, "steps") {
			before := w.operators()
			w.step()
			after := w.operators()
			demoted += max(0, len(before)-len(after))
			for _, id := range w.roster.Operators() {
				if !slices.Contains(after, id) {
					rt.Fatalf("%s is counted and is no operator; those are %v", id, after)
				}
			}
			if len(after) == 0 {
				rt.Fatal("there is no operator")
			}
		}
		refused += w.refused
	})
	if !testing.Short() && (refused == 0 || demoted == 0) {
		t.Errorf("%d demotions refused, %d done: this tests nothing", refused, demoted)
	}
}

func (w *world) operators() (ids []string) {
	for _, s := range w.accounts {
		if isOperator(s.state.User.Roles) {
			ids = append(ids, s.id)
		}
	}
	return ids
}

func (w *world) step() {
	pick := func(n int, what string) int { return rapid.IntRange(0, n-1).Draw(w.rt, what) }
	switch rapid.SampledFrom([]string{"promote", "demote", "demote", "other", "decide", "decide", "deliver", "deliver", "deliver", "repeat", "crash", "follow", "follow"}).Draw(w.rt, "what") {
	case "promote":
		w.calls = append(w.calls, &roleCall{account: pick(4, "whom"), cmd: &accountpb.SetRoles{Roles: []accountpb.Role{operator}}})
	case "demote":
		w.calls = append(w.calls, &roleCall{account: pick(4, "whom"), cmd: &accountpb.SetRoles{Roles: []accountpb.Role{staff}}})
	case "other": // a new version that says nothing about roles
		Evolve(w.accounts[pick(4, "whom")], &accountpb.Event{Event: &accountpb.Event_ProfileUpdated{ProfileUpdated: &accountpb.ProfileUpdated{}}})
	case "follow":
		n := pick(4, "whom")
		if asks := Pending(w.accounts[n]); len(asks) > 0 {
			c := &roleCall{account: n, cmd: &commonpb.Continue{}}
			w.calls = append(w.calls, c)
			w.network = append(w.network, message{asks[0], c})
		}
	case "decide":
		if len(w.calls) > 0 {
			w.decide(pick(len(w.calls), "call"))
		}
	case "deliver", "repeat":
		if len(w.network) > 0 {
			w.deliver(pick(len(w.network), "message"), rapid.Bool().Draw(w.rt, "again"))
		}
	case "crash": // what is decided is durable before asks leave; everybody who waits is gone
		n := pick(4, "whom")
		w.calls = slices.DeleteFunc(w.calls, func(c *roleCall) bool {
			c.gone = c.gone || c.account == n
			return c.gone
		})
	}
}

func (w *world) decide(i int) {
	c := w.calls[i]
	s := w.accounts[c.account]
	d := Decide(s, c.cmd, start, c.heard)
	for _, e := range d.Events {
		Evolve(s, e)
	}
	for _, a := range d.Asks {
		w.network = append(w.network, message{a, c})
	}
	if d.Reply != nil {
		if d.Reply.(*accountpb.UserReply).Refusal != nil {
			w.refused++
		}
		w.calls = slices.Delete(w.calls, i, i+1)
	}
}

func (w *world) deliver(i int, again bool) {
	m := w.network[i]
	if !again {
		w.network = slices.Delete(w.network, i, i+1)
	}
	events, reply := roster.Decide(w.roster, m.ask.Command, start)
	for _, e := range events {
		roster.Evolve(w.roster, e)
	}
	if !m.call.gone {
		heard := map[string]proto.Message{m.ask.Key: reply}
		for k, v := range m.call.heard {
			heard[k] = v
		}
		m.call.heard = heard
	}
}

// A demotion that was allowed, and then overtaken by one who made them an
// operator again, asks anew: what it heard was about another version.
func TestAnOvertakenDemotionAsksAnew(t *testing.T) {
	h := registeredOne(t)
	h.user(&accountpb.SetRoles{Roles: []accountpb.Role{operator}})
	demote := &accountpb.SetRoles{Roles: []accountpb.Role{staff}}
	heard := h.ask(h.decide(demote, nil).Asks)
	h.user(&accountpb.SetRoles{Roles: []accountpb.Role{operator}})
	d := h.decide(demote, heard)
	if d.Reply != nil || len(d.Events) > 0 || len(d.Asks) != 1 {
		t.Fatalf("decided %v", d)
	}
	wantEqual(t, "counted", h.roster.Operators(), []string{"usr_root", h.s.id})
}
