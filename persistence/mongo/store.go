// Package mongo keeps everything in a MongoDB of version 4.4 or later, a
// replica set or a standalone server: the production store, for any number of
// nodes. It implements persistence.Store.
//
// One record is one document, so a write is atomic without transactions, and
// the unique _id (stream and seq) is the fence. Every write is acknowledged by
// a majority and by the journal; Open refuses a server that could not keep that
// promise. Retries are made here, not by the driver, so that what is reported
// as surely not written surely is not.
package mongo

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readconcern"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"

	"stampede/actors/entity"
	"stampede/persistence"
)

const (
	// selectionTimeout is how long an operation looks for a server to go to.
	selectionTimeout = 3 * time.Second
	// operationTimeout bounds an operation whose context has no earlier deadline.
	operationTimeout = 15 * time.Second
	// closeTimeout bounds the closing of connections.
	closeTimeout = 5 * time.Second
)

// Names of the collections.
const (
	journalName    = "journal"
	epochsName     = "epochs"
	snapshotsName  = "snapshots"
	viewsName      = "views"
	watermarksName = "watermarks"
	settingsName   = "settings"
	barriersName   = "barriers"
)

// Names of the indexes, which queries refer to.
const (
	logIndex   = "log"
	allIndex   = "all"
	stateIndex = "state"
	ownerIndex = "owner"
	dueIndex   = "due"
	// changedIndex has all that a change says, so that none needs its row.
	changedIndex = "changed"
)

// Store is a database of one client, which it owns.
type Store struct {
	client *mongo.Client

	journal, epochs, snapshots, views, watermarks, settings, barriers *mongo.Collection
	// majority reads of journal and settings return only what a majority has.
	journalMajority, settingsMajority *mongo.Collection

	// written is the newest operation time of our writes; see causal.go.
	written atomic.Uint64

	beginnings beginnings

	// mu is held for reading by every operation, so that Close waits for them.
	mu     sync.RWMutex
	closed bool
}

var _ persistence.Store = (*Store)(nil)

// Open connects to the servers of uri and prepares the database. It wraps
// persistence.ErrUnsafe, with what to change, if they would acknowledge writes
// that they could lose.
func Open(ctx context.Context, uri, database string) (*Store, error) {
	if database == "" {
		return nil, errors.New("MongoDB: the database has no name")
	}
	o := options.Client().ApplyURI(uri)
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("MongoDB URI: %w", err)
	}
	if err := checkURI(o); err != nil {
		return nil, fmt.Errorf("MongoDB URI: %w", err)
	}
	o.SetServerSelectionTimeout(selectionTimeout).SetConnectTimeout(selectionTimeout)
	o.SetRetryWrites(false).SetReadPreference(readpref.Primary())
	o.SetWriteConcern(durable()).SetReadConcern(readconcern.Local())
	o.SetAppName("stampede")
	client, err := mongo.Connect(o)
	if err != nil {
		return nil, fmt.Errorf("MongoDB: %w", err)
	}
	s := newStore(client, database)
	ctx, cancel := context.WithTimeout(ctx, operationTimeout)
	defer cancel()
	err = s.checkServer(ctx)
	if err == nil {
		err = s.createIndexes(ctx)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("MongoDB at %v: %w", o.Hosts, err), s.Close())
	}
	return s, nil
}

// durable is what every write but a snapshot's asks for.
func durable() *writeconcern.WriteConcern {
	journaled := true
	return &writeconcern.WriteConcern{W: writeconcern.WCMajority, Journal: &journaled}
}

func newStore(client *mongo.Client, database string) *Store {
	db := client.Database(database)
	majority := options.Collection().SetReadConcern(readconcern.Majority())
	return &Store{
		client: client,
		// A snapshot that is lost is made again, so nobody waits for it.
		snapshots: db.Collection(snapshotsName, options.Collection().SetWriteConcern(writeconcern.W1())),
		journal:   db.Collection(journalName), epochs: db.Collection(epochsName), views: db.Collection(viewsName),
		watermarks: db.Collection(watermarksName), settings: db.Collection(settingsName), barriers: db.Collection(barriersName),
		journalMajority: db.Collection(journalName, majority), settingsMajority: db.Collection(settingsName, majority),
	}
}

func (s *Store) createIndexes(ctx context.Context) error {
	index := func(name string, keys bson.D) mongo.IndexModel {
		return mongo.IndexModel{Keys: keys, Options: options.Index().SetName(name)}
	}
	partial := func(field string, condition bson.D, m mongo.IndexModel) mongo.IndexModel {
		m.Options.SetPartialFilterExpression(bson.D{{Key: field, Value: condition}})
		return m
	}
	exists := bson.D{{Key: "$exists", Value: true}}
	unique := index(logIndex, bson.D{{Key: "epoch", Value: 1}, {Key: "position", Value: 1}})
	unique.Options.SetUnique(true)
	if _, err := s.journal.Indexes().CreateOne(ctx, unique); err != nil {
		return fmt.Errorf("index of %s: %w", journalName, err)
	}
	_, err := s.views.Indexes().CreateMany(ctx, []mongo.IndexModel{
		index(allIndex, bson.D{{Key: "kind", Value: 1}, {Key: "sort", Value: -1}, {Key: "_id", Value: -1}}),
		partial("state", exists, index(stateIndex, bson.D{{Key: "kind", Value: 1}, {Key: "state", Value: 1}, {Key: "sort", Value: -1}, {Key: "_id", Value: -1}})),
		partial("owner", exists, index(ownerIndex, bson.D{{Key: "kind", Value: 1}, {Key: "owner", Value: 1}, {Key: "sort", Value: -1}, {Key: "_id", Value: -1}, {Key: "state", Value: 1}})),
		partial("wakeAt", bson.D{{Key: "$gt", Value: 0}}, index(dueIndex, bson.D{{Key: "wakeAt", Value: 1}, {Key: "_id", Value: 1}})),
		partial("changed", exists, index(changedIndex, bson.D{{Key: "kind", Value: 1}, {Key: "changed", Value: 1}, {Key: "_id", Value: 1}, {Key: "version", Value: 1}})),
	})
	if err != nil {
		return fmt.Errorf("indexes of %s: %w", viewsName, err)
	}
	return nil
}

// Close waits for the operations that were begun, and closes the connections.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if err := s.client.Disconnect(ctx); err != nil {
		return fmt.Errorf("MongoDB: disconnect: %w", err)
	}
	return nil
}

// Ping writes something as durably as a record.
func (s *Store) Ping(ctx context.Context) error {
	return s.operate(ctx, "ping", s.barrier)
}

// barrier makes everything that the primary had before it durable: its own
// write comes after that in the oplog or the journal.
func (s *Store) barrier(ctx context.Context) error {
	err := s.write(ctx, func(ctx context.Context) error {
		_, err := s.barriers.UpdateOne(ctx, bson.D{{Key: "_id", Value: "barrier"}},
			bson.D{{Key: "$inc", Value: bson.D{{Key: "n", Value: int64(1)}}}}, options.UpdateOne().SetUpsert(true))
		return err
	})
	if mongo.IsDuplicateKeyError(err) { // two of the first ones met: now it exists
		return s.barrier(ctx)
	}
	return err
}

// operate runs one operation within its bounds, unless the store is closed.
func (s *Store) operate(ctx context.Context, what string, do func(context.Context) error) error {
	leave, err := s.enter()
	if err == nil {
		defer leave()
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, operationTimeout)
		defer cancel()
		err = do(ctx)
	}
	if err != nil {
		return fmt.Errorf("MongoDB: %s: %w", what, err)
	}
	return nil
}

// enter counts an operation in, until leave.
func (s *Store) enter() (leave func(), err error) {
	s.mu.RLock()
	if s.closed {
		s.mu.RUnlock()
		return nil, fmt.Errorf("%w: %w", entity.ErrUnavailable, persistence.ErrClosed)
	}
	return s.mu.RUnlock, nil
}
