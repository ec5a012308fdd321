package mongo

// Snapshots, watermarks, settings and incarnations.

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"stampede/actors/entity"
	"stampede/persistence"
)

type snapshotDocument struct {
	ID       string `bson:"_id"`
	Seq      int64  `bson:"seq"`
	Version  int64  `bson:"version"`
	Checksum int64  `bson:"checksum"`
	State    []byte `bson:"state"`
}

// LoadSnapshot implements entity.Store. A snapshot that does not verify is
// dropped, so that its number cannot keep a good one out.
func (s *Store) LoadSnapshot(ctx context.Context, stream string) (snap *entity.Snapshot, err error) {
	err = s.operate(ctx, "load snapshot of "+stream, func(ctx context.Context) error {
		var d snapshotDocument
		err := s.snapshots.FindOne(ctx, bson.D{{Key: "_id", Value: stream}}).Decode(&d)
		if errors.Is(err, mongo.ErrNoDocuments) {
			return nil
		}
		if err != nil {
			return err
		}
		kind, id := persistence.SplitStream(stream)
		//nolint:gosec // numbers are stored bit by bit
		found := &entity.Snapshot{
			Kind: kind, ID: id, Seq: uint64(d.Seq), Version: uint64(d.Version), Checksum: uint32(d.Checksum), State: d.State,
		}
		if found.Sum() == found.Checksum {
			snap = found
			return nil
		}
		_, err = s.snapshots.DeleteOne(ctx, bson.D{{Key: "_id", Value: stream}, {Key: "seq", Value: d.Seq}, {Key: "checksum", Value: d.Checksum}})
		return err
	})
	return snap, err
}

// SaveSnapshot implements entity.Store.
func (s *Store) SaveSnapshot(ctx context.Context, snap *entity.Snapshot) error {
	if err := persistence.CheckSnapshot(snap); err != nil {
		return err
	}
	//nolint:gosec // numbers are stored bit by bit
	d := snapshotDocument{
		ID: snap.Stream(), Seq: int64(snap.Seq), Version: int64(snap.Version), Checksum: int64(snap.Checksum), State: notNil(snap.State),
	}
	return s.operate(ctx, "save snapshot of "+d.ID, func(ctx context.Context) error {
		// Where a newer one is stored the filter finds nothing, and inserting
		// meets its key. The first time that may also be a race for the first
		// snapshot, after which there is one to compare with.
		save := func() error {
			_, err := s.snapshots.ReplaceOne(ctx, bson.D{{Key: "_id", Value: d.ID}, {Key: "seq", Value: bson.D{{Key: "$lte", Value: d.Seq}}}},
				d, options.Replace().SetUpsert(true))
			return err
		}
		err := save()
		if mongo.IsDuplicateKeyError(err) {
			err = save()
		}
		if mongo.IsDuplicateKeyError(err) {
			return nil
		}
		return err
	})
}

type watermarkDocument struct {
	ID       string `bson:"_id"`
	Epoch    int64  `bson:"epoch"`
	Position int64  `bson:"position"`
}

// SaveWatermark implements persistence.Watermarks.
func (s *Store) SaveWatermark(ctx context.Context, reader string, epoch entity.Epoch, position uint64) error {
	if err := persistence.CheckWatermark(reader, epoch, position); err != nil {
		return err
	}
	return s.operate(ctx, "save watermark of "+reader, func(ctx context.Context) error {
		save := func() error {
			_, err := s.watermarks.UpdateOne(ctx, bson.D{{Key: "_id", Value: fmt.Sprintf("%s/%d", reader, epoch)}}, bson.D{
				{Key: "$max", Value: bson.D{{Key: "position", Value: int64(position)}}}, //nolint:gosec // bounded by CheckWatermark
				{Key: "$setOnInsert", Value: bson.D{{Key: "epoch", Value: int64(epoch)}}},
			}, options.UpdateOne().SetUpsert(true))
			return err
		}
		err := save()
		if mongo.IsDuplicateKeyError(err) { // two first ones met
			err = save()
		}
		return err
	})
}

// Watermarks implements persistence.Watermarks.
func (s *Store) Watermarks(ctx context.Context, reader string) (map[entity.Epoch]uint64, error) {
	all := make(map[entity.Epoch]uint64)
	err := s.operate(ctx, "watermarks of "+reader, func(ctx context.Context) error {
		// '0' is the character after the slash, which a reader's name has not.
		cursor, err := s.watermarks.Find(ctx, bson.D{{Key: "_id", Value: bson.D{{Key: "$gt", Value: reader + "/"}, {Key: "$lt", Value: reader + "0"}}}})
		if err != nil {
			return err
		}
		var docs []watermarkDocument
		if err := cursor.All(ctx, &docs); err != nil {
			return err
		}
		for _, d := range docs {
			if strings.HasPrefix(d.ID, reader+"/") {
				all[entity.Epoch(d.Epoch)] = uint64(d.Position) //nolint:gosec // bounded when written
			}
		}
		return nil
	})
	return all, err
}

type settingDocument struct {
	ID    string `bson:"_id"`
	Value []byte `bson:"value"`
}

// Setting implements persistence.Settings.
func (s *Store) Setting(ctx context.Context, name string, value []byte) (stored []byte, err error) {
	if err := persistence.CheckSetting(name, value); err != nil {
		return nil, err
	}
	err = s.operate(ctx, "setting "+name, func(ctx context.Context) error {
		for {
			var d settingDocument
			err := s.readMajority(ctx, func(ctx context.Context) error {
				return s.settingsMajority.FindOne(ctx, bson.D{{Key: "_id", Value: name}}).Decode(&d)
			})
			if !errors.Is(err, mongo.ErrNoDocuments) {
				stored = notNil(d.Value)
				return err
			}
			_, err = s.settings.InsertOne(ctx, settingDocument{ID: name, Value: notNil(value)})
			if mongo.IsDuplicateKeyError(err) {
				// Somebody else's is on its way: it counts when a majority has it.
				err = s.barrier(ctx)
			}
			if err != nil {
				return err
			}
		}
	})
	return stored, err
}

type epochDocument struct {
	ID        int64     `bson:"_id"`
	Node      string    `bson:"node"`
	StartedAt time.Time `bson:"startedAt"`
}

// OpenEpoch implements persistence.Journal: the number is the one after the
// highest there is, and its unique _id decides who gets it.
func (s *Store) OpenEpoch(ctx context.Context, node string) (epoch entity.Epoch, err error) {
	err = s.operate(ctx, "open an epoch for "+node, func(ctx context.Context) error {
		for {
			var highest epochDocument
			err := s.epochs.FindOne(ctx, bson.D{}, options.FindOne().SetSort(bson.D{{Key: "_id", Value: -1}})).Decode(&highest)
			if err != nil && !errors.Is(err, mongo.ErrNoDocuments) {
				return err
			}
			next := highest.ID + 1
			if next > persistence.MaxEpoch {
				return fmt.Errorf("all %d epochs are used up: %w", persistence.MaxEpoch, persistence.ErrInvalid)
			}
			err = s.write(ctx, func(ctx context.Context) error {
				_, err := s.epochs.InsertOne(ctx, epochDocument{ID: next, Node: node, StartedAt: time.Now()})
				return err
			})
			if !mongo.IsDuplicateKeyError(err) {
				epoch = entity.Epoch(next) //nolint:gosec // bounded above
				return err
			}
			select {
			case <-time.After(rand.N(firstPause)): //nolint:gosec // jitter between nodes that start together
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	})
	if err != nil {
		return 0, err
	}
	return epoch, nil
}

// Epochs implements persistence.Journal.
func (s *Store) Epochs(ctx context.Context) (all []persistence.EpochInfo, err error) {
	err = s.operate(ctx, "list epochs", func(ctx context.Context) error {
		cursor, err := s.epochs.Find(ctx, bson.D{}, options.Find().SetSort(bson.D{{Key: "_id", Value: 1}}))
		if err != nil {
			return err
		}
		var docs []epochDocument
		if err := cursor.All(ctx, &docs); err != nil {
			return err
		}
		for _, d := range docs {
			all = append(all, persistence.EpochInfo{Epoch: entity.Epoch(d.ID), Node: d.Node, StartedAt: d.StartedAt}) //nolint:gosec // bounded when written
		}
		return nil
	})
	return all, err
}

// notNil keeps an empty value apart from a missing one.
func notNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}
