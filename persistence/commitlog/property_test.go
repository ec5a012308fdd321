package commitlog

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"stampede/actors/entity"
)

// history is one random run: drawn as a whole before it is played, because
// rapid must not panic inside a synctest bubble.
type history struct {
	options   Options
	commits   []plannedCommit
	followers []plannedFollower
}

type plannedCommit struct {
	pause  time.Duration // before it
	stream int
	bytes  int
	stolen bool   // another activation has written this seq already
	fates  []fate // by attempt; after them, ok
}

type plannedFollower struct {
	join    time.Duration
	after   int
	pauses  []time.Duration // between calls of Next, repeated
	failing int             // every so many reads of the journal fail
}

func drawHistory(t *rapid.T) history {
	small := func(name string, most int) int { return rapid.IntRange(1, most).Draw(t, name) }
	pause := rapid.SampledFrom([]time.Duration{0, 0, 0, time.Microsecond, time.Millisecond, 20 * time.Millisecond, 300 * time.Millisecond})
	h := history{options: Options{
		MaxInFlight:        small("in flight", 4),
		MaxBatchRecords:    small("batch", 6),
		MaxRetainedRecords: small("retained", 16),
		MaxRetainedBytes:   small("retained bytes", 10) * 400,
		FollowRecords:      small("follow", 7),
		FollowBytes:        small("follow bytes", 5) * 400,
		MaxPendingRecords:  small("pending", 40),
		MaxUnresolved:      small("unresolved", 10),
		MaxUnsettled:       64,
		AppendTimeout:      250 * time.Millisecond,
		Jitter:             func(d time.Duration) time.Duration { return d },
	}}
	anyFate := rapid.Custom(func(t *rapid.T) fate {
		f := rapid.SampledFrom([]fate{ok, ok, ok, refused, lostAnswer, lostWrite, hanging, {err: errors.New("late"), late: 1}}).Draw(t, "fate")
		f.wait = pause.Draw(t, "wait")
		if f.late > 0 {
			f.late = pause.Draw(t, "late") + 1
		}
		return f
	})
	h.commits = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) plannedCommit {
		return plannedCommit{
			pause: pause.Draw(t, "pause"), stream: rapid.IntRange(0, 12).Draw(t, "stream"), bytes: rapid.IntRange(0, 300).Draw(t, "bytes"),
			stolen: rapid.IntRange(0, 15).Draw(t, "stolen") == 0, fates: rapid.SliceOfN(anyFate, 0, 4).Draw(t, "fates"),
		}
	}), 1, 120).Draw(t, "commits")
	h.followers = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) plannedFollower {
		return plannedFollower{
			join: pause.Draw(t, "join"), after: rapid.SampledFrom([]int{0, 0, 0, 3, 50}).Draw(t, "after"),
			pauses:  rapid.SliceOfN(pause, 1, 5).Draw(t, "pauses"),
			failing: rapid.IntRange(2, 5).Draw(t, "failing"),
		}
	}), 1, 3).Draw(t, "followers")
	return h
}

// TestEveryDurableRecordOnceInOrder: whatever fails, however slow they are,
// followers are handed every durable record of their range exactly once, in
// order; upTo never goes back and is true when it is said; and what callers
// are told is what the journal says in the end.
func TestEveryDurableRecordOnceInOrder(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		h := drawHistory(rt)
		var faults []error
		synctest.Test(t, func(t *testing.T) { faults = h.play(t.Context()) })
		if len(faults) > 0 {
			rt.Fatalf("%+v\n%v", h.options, errors.Join(faults...))
		}
	})
}

// play runs a history and returns what was wrong.
func (h *history) play(ctx context.Context) []error {
	planned := map[string][]fate{} // by key of the record
	j := newScripted(func(rec *entity.Record, attempt int) fate {
		if fates := planned[key(rec)]; attempt <= len(fates) {
			return fates[attempt-1]
		}
		return ok
	})
	l, err := Open(ctx, j, "node", h.options)
	if err != nil {
		return []error{err}
	}
	reports := make(chan []error)
	for i, p := range h.followers {
		go func() { reports <- p.follow(ctx, l, j, fmt.Sprint(i)) }()
	}
	var told answers
	committed := map[string]*entity.Record{}
	for i, c := range h.commits {
		sleep(ctx, c.pause)
		rec := record(fmt.Sprint(c.stream), c.bytes)
		rec.Seq = uint64(i + 1)
		j.mu.Lock()
		planned[key(rec)] = c.fates
		if c.stolen {
			j.written[key(rec)] = &entity.Record{Epoch: 1}
		}
		j.mu.Unlock()
		committed[key(rec)] = rec
		l.Commit(rec, told.of(key(rec)))
	}
	faults := h.check(ctx, l)
	for range h.followers {
		faults = append(faults, <-reports...)
	}
	for name, rec := range committed {
		faults = append(faults, truthful(name, rec, told.get(name), j)...)
	}
	return faults
}

// check closes the log and looks at what it says of itself.
func (h *history) check(ctx context.Context, l *Log) []error {
	var faults []error
	if err := l.Close(ctx); err != nil {
		faults = append(faults, err)
	}
	s := l.Stats()
	if s.Settled != s.Position || s.Queued+s.InFlight+s.Unresolved+s.PendingBytes != 0 {
		faults = append(faults, fmt.Errorf("something is pending after Close: %+v", s))
	}
	if s.RetainedRecords > ceilPowerOfTwo(h.options.MaxRetainedRecords) || s.RetainedBytes > h.options.MaxRetainedBytes {
		faults = append(faults, fmt.Errorf("more retained than may be: %+v", s))
	}
	return faults
}

// truthful compares what a caller was told with what is in the journal.
func truthful(name string, rec *entity.Record, told error, j *scriptedJournal) []error {
	j.mu.Lock()
	there := j.written[name]
	j.mu.Unlock()
	written := there != nil && there.Epoch == 7
	switch {
	case told == nil && !written:
		return []error{fmt.Errorf("%s: was told durable and is not", name)}
	case told == nil || errors.Is(told, entity.ErrUnknownOutcome):
		return nil
	case !errors.Is(told, entity.ErrFenced) && !errors.Is(told, entity.ErrUnavailable) && !errors.Is(told, entity.ErrOverloaded):
		return []error{fmt.Errorf("%s: was told %w", name, told)}
	case written:
		return []error{fmt.Errorf("%s at %d: was told %w and is durable", name, rec.Position, told)}
	}
	return nil
}

// follow reads the log to its end and returns what was wrong.
func (p plannedFollower) follow(ctx context.Context, l *Log, j *scriptedJournal, name string) (faults []error) {
	sleep(ctx, p.join)
	f := l.Follow(name, uint64(p.after))
	last, upTo := uint64(p.after), uint64(p.after)
	handed := map[uint64]bool{}
	for i := 0; ; i++ {
		if i%p.failing == 0 {
			j.mu.Lock()
			j.readErr, j.readBefore = errScriptedRead, i%3
			j.mu.Unlock()
		}
		records, next, err := f.Next(ctx)
		switch {
		case errors.Is(err, ErrClosed):
			return append(faults, p.missing(name, j, handed, ^uint64(0))...)
		case err != nil && !errors.Is(err, errScriptedRead):
			return append(faults, fmt.Errorf("follower %s: %w", name, err))
		case next < upTo || err == nil && next == upTo:
			faults = append(faults, fmt.Errorf("follower %s: up to %d after %d", name, next, upTo))
		}
		for _, rec := range records {
			if rec.Position <= last || rec.Position > next {
				faults = append(faults, fmt.Errorf("follower %s: position %d after %d, up to %d", name, rec.Position, last, next))
			}
			if err := rec.Verify(); err != nil {
				faults = append(faults, err)
			}
			last = rec.Position
			handed[rec.Position] = true
		}
		upTo = next
		faults = append(faults, p.missing(name, j, handed, upTo)...)
		sleep(ctx, p.pauses[i%len(p.pauses)])
	}
}

var errScriptedRead = errors.New("scripted read error")

// missing finds records that are durable now and were not handed out.
func (p plannedFollower) missing(name string, j *scriptedJournal, handed map[uint64]bool, upTo uint64) (faults []error) {
	for _, rec := range j.log() {
		if rec.Position > uint64(p.after) && rec.Position <= upTo && !handed[rec.Position] {
			faults = append(faults, fmt.Errorf("follower %s: position %d was not handed out, up to %d", name, rec.Position, upTo))
		}
	}
	return faults
}
