package roster

import (
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"stampede/proto/gen/commonpb"
	"stampede/proto/gen/rosterpb"
)

var start = time.UnixMilli(1_700_000_000_000)

func joins(user string, version int64) proto.Message {
	return &rosterpb.Join{UserId: user, Version: version}
}

func leaves(user string, version int64) proto.Message {
	return &rosterpb.Leave{UserId: user, Version: version}
}

// Each script ends with what is counted. A reply is "in", "out" or the reason of the refusal.
func TestDecide(t *testing.T) {
	type step struct {
		cmd    proto.Message
		want   string
		writes bool
	}
	for name, tc := range map[string]struct {
		steps []step
		left  []string
	}{
		"joined once":                   {[]step{{joins("a", 1), "in", true}, {joins("a", 1), "in", false}}, []string{"a"}},
		"joined anew":                   {[]step{{joins("a", 1), "in", true}, {joins("a", 3), "in", true}, {joins("a", 2), "in", false}}, []string{"a"}},
		"the last stays":                {[]step{{joins("a", 1), "in", true}, {leaves("a", 2), "CONFLICT", false}}, []string{"a"}},
		"one who is not counted stays":  {[]step{{leaves("a", 2), "CONFLICT", false}}, nil},
		"one of two":                    {[]step{{joins("a", 1), "in", true}, {joins("b", 1), "in", true}, {leaves("a", 2), "out", true}, {leaves("a", 2), "out", false}, {leaves("b", 2), "CONFLICT", false}}, []string{"b"}},
		"both at once":                  {[]step{{joins("a", 1), "in", true}, {joins("b", 1), "in", true}, {leaves("b", 2), "out", true}, {leaves("a", 2), "CONFLICT", false}}, []string{"a"}},
		"an uncounted one of two":       {[]step{{joins("a", 1), "in", true}, {leaves("b", 9), "out", true}, {joins("b", 8), "out", false}}, []string{"a"}},
		"a late join":                   {[]step{{joins("a", 1), "in", true}, {joins("b", 1), "in", true}, {leaves("b", 2), "out", true}, {joins("b", 1), "out", false}}, []string{"a"}},
		"a late leave":                  {[]step{{joins("a", 1), "in", true}, {joins("b", 1), "in", true}, {leaves("b", 2), "out", true}, {joins("b", 2), "in", true}, {leaves("b", 2), "CONFLICT", false}}, []string{"a", "b"}},
		"a later leave":                 {[]step{{joins("a", 1), "in", true}, {joins("b", 1), "in", true}, {leaves("b", 2), "out", true}, {leaves("b", 3), "out", true}}, []string{"a"}},
		"a leave from before the join":  {[]step{{joins("a", 1), "in", true}, {joins("b", 5), "in", true}, {leaves("b", 4), "CONFLICT", false}}, []string{"a", "b"}},
		"nobody":                        {[]step{{joins("", 1), "INVALID", false}, {leaves("", 1), "INVALID", false}}, nil},
		"no version":                    {[]step{{joins("a", 0), "INVALID", false}, {leaves("a", -1), "INVALID", false}}, nil},
		"asked":                         {[]step{{&rosterpb.Check{UserId: "a"}, "out", false}, {joins("a", 1), "in", true}, {&rosterpb.Check{UserId: "a"}, "in", false}}, []string{"a"}},
		"a command of somebody's":       {[]step{{&commonpb.Money{}, "INVALID", false}}, nil},
		"left and then checked and out": {[]step{{joins("a", 1), "in", true}, {joins("b", 1), "in", true}, {leaves("b", 2), "out", true}, {&rosterpb.Check{UserId: "b"}, "out", false}}, []string{"a"}},
	} {
		t.Run(name, func(t *testing.T) {
			s, replayed := New(ID), New(ID)
			for i, step := range tc.steps {
				before := proto.Clone(Snapshot(s))
				events, reply := Decide(s, step.cmd, start)
				if !proto.Equal(before, Snapshot(s)) {
					t.Fatalf("step %d: Decide changed the state", i)
				}
				r := reply.(*rosterpb.Reply)
				got := map[bool]string{true: "in", false: "out"}[r.Counted]
				if r.Refusal != nil {
					got = strings.TrimPrefix(r.Refusal.Reason.String(), "REASON_")
				}
				if got != step.want || (len(events) > 0) != step.writes {
					t.Fatalf("step %d: %s, %d events; want %s, writes %v", i, got, len(events), step.want, step.writes)
				}
				for _, e := range events {
					Evolve(s, e)
					Evolve(replayed, e)
				}
			}
			b, err := proto.Marshal(Snapshot(s))
			if err != nil {
				t.Fatal(err)
			}
			restored, err := Restore(ID, b)
			if err != nil || !proto.Equal(Snapshot(restored), Snapshot(replayed)) {
				t.Fatalf("restored %v, replayed %v: %v", restored, replayed, err)
			}
			got := s.Operators()
			slices.Sort(got)
			if !slices.Equal(got, tc.left) {
				t.Errorf("counted %v, want %v", got, tc.left)
			}
		})
	}
	for _, cmd := range []proto.Message{&commonpb.Tick{}, &commonpb.Continue{}} {
		if events, reply := Decide(New(ID), cmd, start); events != nil || reply != nil {
			t.Errorf("%T: %v %v", cmd, events, reply)
		}
	}
	if _, err := Restore(ID, []byte{0xff}); err == nil {
		t.Error("took a broken snapshot")
	}
}

// Who is gone is remembered, up to a bound, and who is counted always.
func TestTheGoneAreBounded(t *testing.T) {
	s := New(ID)
	Evolve(s, joined("first", 1))
	for i := range MaxGone + 10 {
		user := fmt.Sprint("u", i)
		Evolve(s, joined(user, 1))
		Evolve(s, left(user, 2))
	}
	if n := len(s.state.Members); n != MaxGone+1 || !slices.Equal(s.Operators(), []string{"first"}) || s.member("u9") != nil || s.member("u10") == nil {
		t.Fatalf("%d members, counted %v", n, s.Operators())
	}
}

func TestEvolveRefusesWhatCannotBe(t *testing.T) {
	for name, e := range map[string]*rosterpb.Event{"the last leaves": left("a", 2), "nothing": {}} {
		t.Run(name, func(t *testing.T) {
			s := New(ID)
			Evolve(s, joined("a", 1))
			defer func() {
				if recover() == nil {
					t.Fatal("applied")
				}
			}()
			Evolve(s, e)
		})
	}
}

func joined(user string, version int64) *rosterpb.Event {
	return &rosterpb.Event{AtMs: 1_700_000_000_000, Event: &rosterpb.Event_Joined{Joined: &rosterpb.Joined{UserId: user, Version: version}}}
}

func left(user string, version int64) *rosterpb.Event {
	return &rosterpb.Event{AtMs: 1_700_000_000_000, Event: &rosterpb.Event_Left{Left: &rosterpb.Left{UserId: user, Version: version}}}
}

// Journals hold these bytes: they stay in testdata for ever.
func TestGoldenEvents(t *testing.T) {
	for name, want := range map[string]*rosterpb.Event{"joined-1": joined("usr_a", 3), "left-1": left("usr_a", 4)} {
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
		got := &rosterpb.Event{}
		if err := proto.Unmarshal(b, got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
