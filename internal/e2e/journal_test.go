package e2e

// The judgement at the end of whatever was published: all topics, compared with
// the journal of the server that is still running.

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stampede/actors/entity"
	"stampede/events/cloudevents"
	"stampede/events/eventcheck"
	"stampede/persistence"
	"stampede/persistence/mongo"
	"stampede/persistence/sqlite"
)

// publishedWithin is how long what was committed may take to its topic, with the
// log of a killed node that has to be adopted first.
const publishedWithin = 90 * time.Second

// checkPublished waits until the topics have everything that the journal has,
// as consumers are promised it. On a shared Kafka only the keys that this journal
// has are looked at, and nothing older: names are used again by the next run.
func (s *server) checkPublished() {
	s.t.Helper()
	format := cloudevents.JSON
	if s.flag("events-format") == "protobuf" {
		format = cloudevents.Protobuf
	}
	records := func(ctx context.Context) ([]*entity.Record, error) {
		return copiedRecords(ctx, s.t, s.flag("data-dir"))
	}
	if uri := s.flag("mongo"); uri != "" {
		records = func(ctx context.Context) ([]*entity.Record, error) {
			return mongoRecords(ctx, uri, s.flag("mongo-database"))
		}
	}
	checkTopics(s.t, s.kafka, format, s.flag("kafka") != "", nil, records)
}

// flag is the value that the server was started with.
func (s *server) flag(name string) (value string) {
	for _, arg := range s.cmd.Args {
		if v, ok := strings.CutPrefix(arg, "--"+name+"="); ok {
			value = v // the last one wins
		}
	}
	return value
}

// checkPublished of a cluster: the journal is MongoDB's, whatever the nodes'
// ways to it.
func (f *fleet) checkPublished() {
	f.t.Helper()
	checkTopics(f.t, f.kafka, cloudevents.JSON, true, f.mayLack, func(ctx context.Context) ([]*entity.Record, error) {
		return mongoRecords(ctx, f.mongo, f.name)
	})
}

func checkTopics(t testing.TB, broker string, format cloudevents.Format, shared bool, mayLack []string,
	records func(context.Context) ([]*entity.Record, error),
) {
	t.Helper()
	began, count := time.Now(), 0
	eventually(t, publishedWithin, "the topics are as the journal says", func() (err error) {
		ctx, cancel := context.WithTimeout(t.Context(), soon)
		defer cancel()
		// The topics first: what is on them then is in the journal.
		var there []eventcheck.Message
		for _, topic := range cloudevents.Topics() {
			some, err := eventcheck.Read(ctx, broker, topic.Name, "")
			if err != nil {
				return err
			}
			there = append(there, some...)
		}
		have, err := records(ctx)
		if err != nil {
			return err
		}
		count, err = compare(there, have, format, shared, mayLack)
		return err
	})
	t.Logf("%d events of the journal are on the topics, in order; looked for %s", count, time.Since(began).Round(time.Millisecond))
}

// compare returns how many events there should be, and the first faults.
func compare(there []eventcheck.Message, records []*entity.Record, format cloudevents.Format, shared bool, mayLack []string) (int, error) {
	type key struct{ topic, key string }
	mapper, own := cloudevents.NewMapper(format, ""), map[key]bool{}
	checker := eventcheck.New(mapper)
	checker.MayLack = mayLack
	if err := checker.Expect(records...); err != nil {
		return 0, err
	}
	if checker.Expected() == 0 {
		return 0, errors.New("the journal has no events")
	}
	first := "~" // above all times
	for _, r := range records {
		messages, err := mapper.Map(nil, r)
		if err != nil {
			return 0, err
		}
		for i := range messages {
			own[key{messages[i].Topic, messages[i].Key}] = true
			m := eventcheck.Message{Headers: messages[i].Headers}
			first = min(first, m.Header("ce_time"))
		}
	}
	for i := range there {
		if !shared || own[key{there[i].Topic, there[i].Key}] && there[i].Header("ce_time") >= first {
			checker.Consume(there[i])
		}
	}
	faults := checker.Done()
	if len(faults) == 0 {
		return checker.Expected(), nil
	}
	return 0, fmt.Errorf("%d faults, the first: %v", len(faults), faults[:min(len(faults), 5)])
}

func mongoRecords(ctx context.Context, uri, database string) (records []*entity.Record, err error) {
	store, err := mongo.Open(ctx, uri, database)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	return recordsOf(ctx, store)
}

// copiedRecords reads a copy of a data directory that a server is using.
func copiedRecords(ctx context.Context, t testing.TB, dir string) (records []*entity.Record, err error) {
	t.Helper()
	look := t.TempDir()
	// In order of name: cache, index, journal. The journal is the newest then,
	// which the store makes good, as after a kill.
	files, err := filepath.Glob(filepath.Join(dir, "*.db"))
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		if err := copyDatabase(ctx, file, filepath.Join(look, filepath.Base(file))); err != nil {
			return nil, fmt.Errorf("copying %s: %w", file, err)
		}
	}
	store, err := sqlite.Open(ctx, look)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	return recordsOf(ctx, store)
}

func copyDatabase(ctx context.Context, from, to string) (err error) {
	db, err := sql.Open("sqlite", "file:"+from+"?mode=ro&_pragma=busy_timeout(10000)")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	_, err = db.ExecContext(ctx, "VACUUM INTO ?", to)
	return err
}

func recordsOf(ctx context.Context, journal persistence.Journal) (records []*entity.Record, err error) {
	epochs, err := journal.Epochs(ctx)
	if err != nil {
		return nil, err
	}
	for _, e := range epochs {
		for r, err := range journal.ReadEpoch(ctx, e.Epoch, 0) {
			if err != nil {
				return nil, err
			}
			records = append(records, r)
		}
	}
	return records, nil
}
