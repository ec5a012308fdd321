package journal_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"iter"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"stampede/actors"
	"stampede/actors/entity"
	"stampede/cmd/stampede/internal/journal"
	"stampede/internal/memstore"
	"stampede/proto/gen/journalpb"
	"stampede/proto/gen/rosterpb"
)

const (
	stream  = "roster/a"
	records = 6
)

func none(string, int, int) {}

// filled is a store with two actors, one of which has a snapshot, written by two
// incarnations.
func filled(t *testing.T) *memstore.Store {
	t.Helper()
	store := memstore.New()
	for _, node := range []string{"a", "b"} {
		if _, err := store.OpenEpoch(t.Context(), node); err != nil {
			t.Fatal(err)
		}
	}
	replayer := actors.Replayer(entity.Address{Kind: "roster", ID: "a"})
	for seq := uint64(1); seq <= records; seq++ {
		rec := record(t, "a", seq, entity.Epoch(1+seq/4), seq)
		for _, err := range store.Append(t.Context(), []*entity.Record{rec, record(t, "b", seq, rec.Epoch, seq+100)}) {
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := replayer.Replay(rec); err != nil {
			t.Fatal(err)
		}
	}
	kind := actors.Roster()
	state := kind.New("a")
	for seq := uint64(1); seq <= 4; seq++ {
		kind.Evolve(state, joined(seq))
	}
	b, err := proto.Marshal(kind.Snapshot(state))
	if err != nil {
		t.Fatal(err)
	}
	snapshot := &entity.Snapshot{Kind: "roster", ID: "a", Seq: 4, Version: 4, State: b}
	snapshot.Checksum = snapshot.Sum()
	if err := store.SaveSnapshot(t.Context(), snapshot); err != nil {
		t.Fatal(err)
	}
	return store
}

func joined(seq uint64) *rosterpb.Event {
	return &rosterpb.Event{Event: &rosterpb.Event_Joined{Joined: &rosterpb.Joined{UserId: "usr_a", Version: int64(seq)}}}
}

func record(t *testing.T, id string, seq uint64, epoch entity.Epoch, position uint64) *entity.Record {
	t.Helper()
	event, err := proto.Marshal(joined(seq))
	if err != nil {
		t.Fatal(err)
	}
	batch, err := proto.Marshal(&journalpb.Batch{Entries: []*journalpb.Entry{{Event: event}}})
	if err != nil {
		t.Fatal(err)
	}
	rec := &entity.Record{Kind: "roster", ID: id, Seq: seq, FirstVersion: seq, LastVersion: seq, Epoch: epoch, Position: position, Events: batch}
	rec.Checksum = rec.Sum()
	return rec
}

func TestAWholeJournal(t *testing.T) {
	steps := map[string]int{}
	r, err := journal.Verify(t.Context(), filled(t), func(what string, done, of int) {
		steps[what]++
		if done != steps[what] || of != 2 {
			t.Errorf("%s: %d of %d", what, done, of)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Faults) > 0 || r.Streams != 2 || r.Records != 2*records || r.Events != 2*records || r.Snapshots != 1 || r.Epochs != 2 || len(steps) != 2 {
		t.Errorf("%+v %v", r, steps)
	}
}

// Each kind of damage is found, and said once.
func TestDamage(t *testing.T) {
	resum := func(change func(*entity.Record)) func(*entity.Record) {
		return func(r *entity.Record) {
			change(r)
			r.Checksum = r.Sum()
		}
	}
	for what, c := range map[string]struct {
		spoil func(*memstore.Disk) bool
		want  string
	}{
		"a flipped bit": {func(d *memstore.Disk) bool { return d.Tamper(stream, 2, func(r *entity.Record) { r.Events[0] ^= 1 }) }, "checksum"},
		"a lost record": {func(d *memstore.Disk) bool { return d.Lose(stream, 3) }, "a gap"},
		"another version": {func(d *memstore.Disk) bool {
			return d.Tamper(stream, 5, resum(func(r *entity.Record) { r.LastVersion += 2 }))
		}, "says versions"},
		"another place before it": {func(d *memstore.Disk) bool {
			return d.Tamper(stream, 2, resum(func(r *entity.Record) {
				follows, _ := proto.Marshal(&journalpb.Batch{Follows: &journalpb.Place{Epoch: 1, Position: 77}})
				r.Events = append(r.Events, follows...)
			}))
		}, "says that it follows place 77"},
		"another snapshot": {func(d *memstore.Disk) bool {
			return d.TamperSnapshot(stream, func(s *entity.Snapshot) {
				s.State, _ = proto.Marshal(actors.Roster().Snapshot(actors.Roster().New("a")))
				s.Checksum = s.Sum()
			})
		}, "the states differ"},
		"a snapshot of another history": {func(d *memstore.Disk) bool {
			return d.TamperSnapshot(stream, func(s *entity.Snapshot) {
				s.Seq = 40
				s.Checksum = s.Sum()
			})
		}, "its snapshot is of record 40, which the journal does not have"},
	} {
		t.Run(what, func(t *testing.T) {
			store := filled(t)
			if !c.spoil(store.Disk()) {
				t.Fatal("nothing was spoiled")
			}
			r, err := journal.Verify(t.Context(), store, none)
			if err != nil {
				t.Fatal(err)
			}
			if len(r.Faults) != 1 || !strings.Contains(r.Faults[0], c.want) || !strings.Contains(r.Faults[0], stream) {
				t.Errorf("found %q, want one with %q", r.Faults, c.want)
			}
		})
	}
}

// doctored shows a log's records changed.
type doctored struct {
	journal.Store
	change func(*entity.Record) *entity.Record
}

func (d doctored) ReadEpoch(ctx context.Context, epoch entity.Epoch, after uint64) iter.Seq2[*entity.Record, error] {
	return func(yield func(*entity.Record, error) bool) {
		for rec, err := range d.Store.ReadEpoch(ctx, epoch, after) {
			if err == nil {
				copied := *rec
				if rec = d.change(&copied); rec == nil {
					continue
				}
			}
			if !yield(rec, err) {
				return
			}
		}
	}
}

// A database whose two ways to a record disagree has lost one of them.
func TestLogsAndStreamsAreHeldToEachOther(t *testing.T) {
	for what, c := range map[string]struct {
		change func(*entity.Record) *entity.Record
		want   string
	}{
		"one place twice": {func(r *entity.Record) *entity.Record {
			if r.Position == 2 {
				r.Position = 1
			}
			return r
		}, "its place 1 in the log of incarnation 1 is taken by another"},
		"missing in its log": {func(r *entity.Record) *entity.Record {
			if r.Position == 2 {
				return nil
			}
			return r
		}, "record 2: not at its place 2"},
		"in another's log": {func(r *entity.Record) *entity.Record {
			if r.Position == 2 {
				r.Epoch = 9
			}
			return r
		}, "in the log of incarnation 1 and says 9"},
	} {
		t.Run(what, func(t *testing.T) {
			r, err := journal.Verify(t.Context(), doctored{filled(t), c.change}, none)
			if err != nil {
				t.Fatal(err)
			}
			if len(r.Faults) != 1 || !strings.Contains(r.Faults[0], c.want) {
				t.Errorf("found %q, want one with %q", r.Faults, c.want)
			}
		})
	}
}

func TestShow(t *testing.T) {
	store := filled(t)
	if !store.Disk().Tamper(stream, 5, func(r *entity.Record) { r.Checksum++ }) {
		t.Fatal("nothing was spoiled")
	}
	var out bytes.Buffer
	problems, err := journal.Show(t.Context(), store, stream, &out)
	if err != nil || problems != 1 {
		t.Fatalf("%d problems, %v", problems, err)
	}
	var lines []map[string]any
	for line := range strings.Lines(out.String()) {
		var one map[string]any
		if err := json.Unmarshal([]byte(line), &one); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, one)
	}
	if len(lines) != records {
		t.Fatalf("%d lines", len(lines))
	}
	second := lines[1]
	event := second["events"].([]any)[0].(map[string]any)
	if second["seq"] != 2.0 || second["epoch"] != 1.0 || second["position"] != 2.0 || second["node"] != "a" || event["type"] != "Joined" || event["version"] != 2.0 {
		t.Errorf("got %v", second)
	}
	if said, _ := lines[4]["problem"].(string); !strings.Contains(said, "checksum") || lines[5]["problem"] != nil {
		t.Errorf("the fifth says %q, the sixth %v", said, lines[5]["problem"])
	}
	if _, err := journal.Show(t.Context(), store, "roster/none", &out); !errors.Is(err, journal.ErrNoStream) {
		t.Errorf("got %v", err)
	}
}
