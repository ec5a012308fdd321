package mongo

// Appending: one insert for a batch, one result for each record.

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/x/mongo/driver"
	"go.mongodb.org/mongo-driver/v2/x/mongo/driver/topology"

	"stampede/actors/entity"
	"stampede/persistence"
)

const (
	// maxInsertDocuments and maxInsertBytes bound one insert: a server takes a
	// command of 16 MiB with 100,000 documents.
	maxInsertDocuments = 10_000
	maxInsertBytes     = 12 << 20
	// maxAttempts bounds how often a batch is inserted while its outcome is unknown.
	maxAttempts = 5
	// firstPause is the pause before the second attempt; it doubles each time.
	firstPause = 20 * time.Millisecond
	// codeDuplicateKey is the server's for a key that exists.
	codeDuplicateKey = 11000
)

// document is a record in the database. The stream and seq are its _id.
type document struct {
	ID           string `bson:"_id"`
	FirstVersion int64  `bson:"first"`
	LastVersion  int64  `bson:"last"`
	Epoch        int64  `bson:"epoch"`
	Position     int64  `bson:"position"`
	WakeAtMs     int64  `bson:"wakeAt"`
	Checksum     int64  `bson:"checksum"`
	Events       []byte `bson:"events"`
}

// insertion is one record on its way through Append.
type insertion struct {
	*entity.Record
	doc document
	// index is the record's place in the batch.
	index int
	// sent: some attempt may have written it.
	sent bool
}

// Append implements persistence.Journal.
func (s *Store) Append(ctx context.Context, records []*entity.Record) []error {
	errs := make([]error, len(records))
	batch := make([]*insertion, 0, len(records))
	for i, r := range records {
		if errs[i] = persistence.CheckRecord(r); errs[i] == nil {
			batch = append(batch, &insertion{Record: r, doc: documentOf(r), index: i})
		}
	}
	leave, err := s.enter()
	if err != nil {
		return report(batch, errs, err)
	}
	defer leave()
	ctx, cancel := context.WithTimeout(ctx, operationTimeout)
	defer cancel()
	for len(batch) > 0 {
		n := insertable(batch)
		s.insert(ctx, batch[:n], errs)
		batch = batch[n:]
	}
	return errs
}

// report gives the records their error: unknown for those that may be written.
func report(batch []*insertion, errs []error, cause error) []error {
	for _, r := range batch {
		outcome := entity.ErrUnavailable
		if r.sent {
			outcome = entity.ErrUnknownOutcome
		}
		if errors.Is(cause, outcome) {
			errs[r.index] = fmt.Errorf("append record %d of %s: %w", r.Seq, r.Stream(), cause)
			continue
		}
		errs[r.index] = fmt.Errorf("append record %d of %s: %w: %w", r.Seq, r.Stream(), outcome, cause)
	}
	return errs
}

func insertable(batch []*insertion) int {
	size := 0
	for i, r := range batch {
		size += len(r.Events) + len(r.doc.ID) + documentOverhead
		if i > 0 && size > maxInsertBytes || i == maxInsertDocuments {
			return i
		}
	}
	return len(batch)
}

// insert writes the records, again and again while the outcome of some is
// unknown: whatever an attempt has written, the next one finds.
func (s *Store) insert(ctx context.Context, open []*insertion, errs []error) {
	pause := firstPause
	for attempt := 1; ; attempt++ {
		if err := ctx.Err(); err != nil {
			report(open, errs, err)
			return
		}
		found, rest, cause := s.attempt(ctx, open, errs)
		again, err := s.settle(ctx, found, errs)
		if err != nil {
			// What has their keys may be what an earlier attempt, or an earlier
			// call, wrote of them.
			for _, r := range found {
				r.sent = true
				again = append(again, r.insertion)
			}
			cause = err
		}
		open = append(rest, again...)
		if len(open) == 0 {
			return
		}
		if cause == nil {
			cause = errors.New("was there and is not: the primary has changed")
		}
		if attempt == maxAttempts || unsent(cause) {
			report(open, errs, cause)
			return
		}
		select {
		case <-time.After(pause/2 + rand.N(pause/2)): //nolint:gosec // jitter
		case <-ctx.Done():
		}
		pause *= 2
	}
}

// attempt inserts once. It returns the records whose keys exist, and those that
// must be inserted again because of cause.
func (s *Store) attempt(ctx context.Context, open []*insertion, errs []error) (found []*existing, again []*insertion, cause error) {
	err := s.write(ctx, func(ctx context.Context) error {
		return s.journal.Database().RunCommand(ctx, insertCommand(journalName, open)).Err()
	})
	if err == nil {
		return nil, nil, nil
	}
	var partly mongo.WriteException
	if !errors.As(err, &partly) {
		if !unsent(err) {
			for _, r := range open {
				r.sent = true
			}
		}
		return nil, open, err
	}
	refused := make(map[int]bool, len(partly.WriteErrors))
	settled := partly.WriteConcernError == nil
	for _, e := range partly.WriteErrors {
		refused[e.Index] = true
		r := open[e.Index]
		if e.Code == codeDuplicateKey {
			found = append(found, &existing{insertion: r, position: strings.Contains(e.Message, "index: "+logIndex+" ")})
			continue
		}
		// The server says that this one was not written; what it says of the
		// others is certain only when it stopped for nothing but keys.
		settled = false
		report([]*insertion{r}, errs, errors.New(e.Message))
	}
	if settled {
		return found, nil, nil
	}
	for i, r := range open {
		if !refused[i] {
			r.sent = true
			again = append(again, r)
		}
	}
	return found, again, err
}

// existing is a record whose key is in the database; position: the key is its
// epoch and position.
type existing struct {
	*insertion
	position bool
}

// settle compares records with what has their keys. It returns those that have
// disappeared.
func (s *Store) settle(ctx context.Context, found []*existing, errs []error) (again []*insertion, err error) {
	if len(found) == 0 {
		return nil, nil
	}
	stored, err := identities(ctx, s.journal, found)
	if err != nil {
		return nil, err
	}
	var there []*existing
	for _, r := range found {
		switch _, ok := stored[r.doc.ID]; {
		case ok:
			there = append(there, r)
		case r.position:
			errs[r.index] = fmt.Errorf("append record %d of %s: epoch %d, position %d: %w: %w",
				r.Seq, r.Stream(), r.Epoch, r.Position, persistence.ErrPositionTaken, entity.ErrFenced)
		default:
			again = append(again, r.insertion)
		}
	}
	if len(there) == 0 {
		return again, nil
	}
	// They are there, but an earlier attempt may have put them there without
	// being acknowledged: they count when a majority has them for good. So do
	// those of others: if one is rolled back, what an earlier attempt wrote of
	// ours may come in its place.
	if err := s.barrier(ctx); err != nil {
		return nil, err
	}
	err = s.readMajority(ctx, func(ctx context.Context) (err error) {
		stored, err = identities(ctx, s.journalMajority, there)
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, r := range there {
		switch other, ok := stored[r.doc.ID]; {
		case !ok:
			again = append(again, r.insertion)
		case other != r.identity():
			errs[r.index] = fmt.Errorf("append record %d of %s: %w", r.Seq, r.Stream(), entity.ErrFenced)
		}
	}
	return again, nil
}

// identity is what tells a repeated record from another one.
type identity struct {
	Epoch    int64 `bson:"epoch"`
	Position int64 `bson:"position"`
	Checksum int64 `bson:"checksum"`
}

func (r *insertion) identity() identity {
	return identity{Epoch: r.doc.Epoch, Position: r.doc.Position, Checksum: r.doc.Checksum}
}

func identities(ctx context.Context, from *mongo.Collection, of []*existing) (map[string]identity, error) {
	ids := make([]string, len(of))
	for i, r := range of {
		ids[i] = r.doc.ID
	}
	cursor, err := from.Find(ctx, bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: ids}}}},
		options.Find().SetProjection(bson.D{{Key: "epoch", Value: 1}, {Key: "position", Value: 1}, {Key: "checksum", Value: 1}}))
	if err != nil {
		return nil, err
	}
	var docs []struct {
		ID       string   `bson:"_id"`
		Identity identity `bson:",inline"`
	}
	if err := cursor.All(ctx, &docs); err != nil {
		return nil, err
	}
	stored := make(map[string]identity, len(docs))
	for _, d := range docs {
		stored[d.ID] = d.Identity
	}
	return stored, nil
}

// unsent reports that a command surely did not reach a server.
func unsent(err error) bool {
	var selection topology.ServerSelectionError
	var queue topology.WaitQueueTimeoutError
	var dial *net.OpError
	return errors.As(err, &selection) || errors.As(err, &queue) ||
		errors.As(err, &dial) && dial.Op == "dial" ||
		errors.Is(err, driver.ErrDeadlineWouldBeExceeded) || errors.Is(err, mongo.ErrClientDisconnected)
}
