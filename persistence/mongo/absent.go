package mongo

// Most actors that are activated are new: their streams are not there. Under
// load those who read a stream from its beginning are asked for together.

import (
	"context"
	"strings"
	"sync"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

const (
	// readsAlone is how many beginnings are read each by itself. Those who come
	// while there are as many wait for one to end, and are then asked for together.
	readsAlone = 2
	// maxTogether bounds how many streams one question is about.
	maxTogether = 64
	// maxSeen bounds the answer: a question that finds more has found out nothing
	// about the streams that are not among it.
	maxSeen = 4 * maxTogether
)

// beginnings is the store's readers of streams from their beginnings. It has
// readsAlone slots: a slot has one reader's first page under way, or one
// question for all that had gathered. So one reader alone waits for nobody, and
// many share a round trip; no timer collects them.
type beginnings struct {
	mu      sync.Mutex
	busy    int // slots; at most readsAlone
	waiting []*beginning
}

// beginning is one reader who waits for a question to be answered. The others
// are set when done is closed.
type beginning struct {
	stream string
	done   chan struct{}
	absent bool // it has no record
	err    error
}

// firstPage reports that the stream has no record, or calls read, which reads
// its first page.
func (s *Store) firstPage(ctx context.Context, stream string, read func() error) (absent bool, err error) {
	b := s.beginnings.wait(stream)
	if b == nil {
		defer s.next()
		return false, read()
	}
	select {
	case <-b.done:
	case <-ctx.Done():
		return false, ctx.Err()
	}
	if b.absent || b.err != nil {
		return b.absent, b.err
	}
	return false, read()
}

// wait takes a slot, or a place among those who wait for one.
func (all *beginnings) wait(stream string) *beginning {
	all.mu.Lock()
	defer all.mu.Unlock()
	if all.busy < readsAlone {
		all.busy++
		return nil
	}
	b := &beginning{stream: stream, done: make(chan struct{})}
	all.waiting = append(all.waiting, b)
	return b
}

// gathered gives the slot up, or returns those that it is now for.
func (all *beginnings) gathered() []*beginning {
	all.mu.Lock()
	defer all.mu.Unlock()
	n := min(len(all.waiting), maxTogether)
	if n == 0 {
		all.busy--
		all.waiting = nil
		return nil
	}
	taken := all.waiting[:n:n]
	all.waiting = all.waiting[n:]
	return taken
}

// next passes the slot on. What was asked for together belongs to none of those
// who wait, any of whom may give up.
func (s *Store) next() {
	if together := s.beginnings.gathered(); together != nil {
		go func() {
			defer s.next()
			s.askTogether(together)
		}()
	}
}

// askTogether finds out which of the streams have no record.
func (s *Store) askTogether(together []*beginning) {
	var seen []string
	err := s.operate(context.Background(), "look for streams", func(ctx context.Context) error {
		return s.readMajority(ctx, func(ctx context.Context) (err error) {
			seen, err = s.recordsOf(ctx, together)
			return err
		})
	})
	for _, b := range together {
		b.err = err
		b.absent = err == nil && len(seen) < maxSeen && !among(seen, b.stream)
		close(b.done)
	}
}

// recordsOf returns _ids of records that are or may be of the streams, at most
// maxSeen: all of them if they are fewer.
func (s *Store) recordsOf(ctx context.Context, together []*beginning) ([]string, error) {
	ranges := make(bson.A, len(together))
	for i, b := range together {
		ranges[i] = bson.D{{Key: "_id", Value: rangeOf(b.stream, 0)}}
	}
	o := options.Find().SetProjection(bson.D{{Key: "_id", Value: 1}}).SetLimit(maxSeen).SetBatchSize(maxSeen)
	cursor, err := s.journalMajority.Find(ctx, bson.D{{Key: "$or", Value: ranges}}, o)
	if err != nil {
		return nil, err
	}
	var found []struct {
		ID string `bson:"_id"`
	}
	if err := cursor.All(ctx, &found); err != nil {
		return nil, err
	}
	seen := make([]string, len(found))
	for i := range found {
		seen[i] = found[i].ID
	}
	return seen, nil
}

// among reports whether one of the _ids may be of the stream. It is wrong when
// it is of a stream whose name begins with this one's and a slash; the stream
// is then read as if there were no question.
func among(seen []string, stream string) bool {
	for _, id := range seen {
		if rest, ok := strings.CutPrefix(id, stream); ok && strings.HasPrefix(rest, "/") {
			return true
		}
	}
	return false
}
