package commitlog

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	"stampede/actors/entity"
	"stampede/persistence"
)

// fate is what the scripted journal does with one record in one Append.
type fate struct {
	// wait passes before the Append ends; the longest of a batch counts.
	wait time.Duration
	// write says whether the record is written by this Append, and late when
	// not before that much time after it has ended.
	write bool
	late  time.Duration
	err   error
	// hang ends the Append only with its context.
	hang bool
}

var (
	ok         = fate{write: true}
	refused    = fate{err: fmt.Errorf("scripted: %w", entity.ErrUnavailable)}
	lostAnswer = fate{write: true, err: fmt.Errorf("scripted: %w", entity.ErrUnknownOutcome)}
	lostWrite  = fate{err: errors.New("scripted: connection reset")} // wraps nothing: unknown
	hanging    = fate{hang: true}
)

// scriptedJournal is a journal in memory that fails as its script says, by
// record and by the how-many-eth time it is appended.
type scriptedJournal struct {
	persistence.Journal // nil: only what follows is used
	maxRecord           int
	script              func(rec *entity.Record, attempt int) fate

	mu          sync.Mutex
	written     map[string]*entity.Record // by stream and seq
	attempts    map[uint64]int            // by position
	batches     [][]uint64                // positions of each Append
	inFlight    int
	maxInFlight int
	reads       int
	readErr     error // the next read ends with it
	readBefore  int   // after so many records
}

func newScripted(script func(rec *entity.Record, attempt int) fate) *scriptedJournal {
	if script == nil {
		script = func(*entity.Record, int) fate { return ok }
	}
	return &scriptedJournal{maxRecord: 1 << 20, script: script, written: map[string]*entity.Record{}, attempts: map[uint64]int{}}
}

func (j *scriptedJournal) MaxRecordBytes() int { return j.maxRecord }

func (j *scriptedJournal) OpenEpoch(context.Context, string) (entity.Epoch, error) { return 7, nil }

func (j *scriptedJournal) Append(ctx context.Context, records []*entity.Record) []error {
	fates := j.begin(records)
	var wait time.Duration
	hang := false
	for _, f := range fates {
		wait, hang = max(wait, f.wait), hang || f.hang
	}
	if hang {
		<-ctx.Done()
	} else if wait > 0 {
		sleep(ctx, wait)
	}
	errs := make([]error, len(records))
	j.mu.Lock()
	defer j.mu.Unlock()
	j.inFlight--
	for i, rec := range records {
		f := fates[i]
		errs[i] = f.err
		switch {
		case hang || ctx.Err() != nil:
			errs[i] = ctx.Err()
		case f.late > 0:
			time.AfterFunc(f.late, func() {
				j.mu.Lock()
				defer j.mu.Unlock()
				_ = j.put(rec) // nobody is there to hear of it
			})
		case f.write:
			if err := j.put(rec); err != nil {
				errs[i] = err
			}
		}
	}
	return errs
}

func (j *scriptedJournal) begin(records []*entity.Record) []fate {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.inFlight++
	j.maxInFlight = max(j.maxInFlight, j.inFlight)
	fates := make([]fate, len(records))
	var positions []uint64
	for i, rec := range records {
		j.attempts[rec.Position]++
		fates[i] = j.script(rec, j.attempts[rec.Position])
		positions = append(positions, rec.Position)
	}
	j.batches = append(j.batches, positions)
	return fates
}

func key(rec *entity.Record) string { return fmt.Sprintf("%s/%d", rec.Stream(), rec.Seq) }

func (j *scriptedJournal) put(rec *entity.Record) error {
	switch there := j.written[key(rec)]; {
	case there == nil:
		copied := *rec
		j.written[key(rec)] = &copied
	case there.Epoch != rec.Epoch || there.Position != rec.Position || there.Checksum != rec.Checksum:
		return fmt.Errorf("scripted: %w", entity.ErrFenced)
	}
	return nil
}

// log is what was written, in order of position.
func (j *scriptedJournal) log() []*entity.Record {
	j.mu.Lock()
	defer j.mu.Unlock()
	var records []*entity.Record
	for _, rec := range j.written {
		if rec.Epoch == 7 {
			records = append(records, rec)
		}
	}
	slices.SortFunc(records, func(a, b *entity.Record) int { return int(a.Position) - int(b.Position) })
	return records
}

func (j *scriptedJournal) ReadEpoch(ctx context.Context, _ entity.Epoch, after uint64) iter.Seq2[*entity.Record, error] {
	j.mu.Lock()
	j.reads++
	err, left := j.readErr, j.readBefore
	j.readErr = nil
	j.mu.Unlock()
	return func(yield func(*entity.Record, error) bool) {
		for _, rec := range j.log() {
			if rec.Position <= after {
				continue
			}
			if err != nil && left == 0 {
				break
			}
			left--
			if ctx.Err() != nil || !yield(rec, nil) {
				return
			}
		}
		if err != nil {
			yield(nil, err)
		}
	}
}

// answers collects what callers were told, by name of their commit.
type answers struct {
	mu   sync.Mutex
	told map[string][]error
}

func (a *answers) of(name string) func(error) {
	return func(err error) {
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.told == nil {
			a.told = map[string][]error{}
		}
		a.told[name] = append(a.told[name], err)
	}
}

// get is the one answer of a commit; pending if there is none yet.
func (a *answers) get(name string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch told := a.told[name]; len(told) {
	case 0:
		return errPending
	case 1:
		return told[0]
	default:
		return fmt.Errorf("%s was answered %d times: %v", name, len(told), told)
	}
}

var errPending = errors.New("not answered yet")

func record(id string, bytes int) *entity.Record {
	return &entity.Record{Kind: "sku", ID: id, Seq: 1, FirstVersion: 1, LastVersion: 1, Events: make([]byte, bytes)}
}

func positions(records []*entity.Record) []uint64 {
	var ps []uint64
	for _, rec := range records {
		ps = append(ps, rec.Position)
	}
	return ps
}
