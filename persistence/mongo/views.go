package mongo

// The views: rows that lists are read from, each list straight from an index.

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"stampede/persistence"
)

// rowDocument has kind/id as its _id, which also orders rows that sort alike.
type rowDocument struct {
	ID       string `bson:"_id"`
	Kind     string `bson:"kind"`
	Version  int64  `bson:"version"`
	Owner    string `bson:"owner,omitempty"`
	State    string `bson:"state,omitempty"`
	SortMs   int64  `bson:"sort"`
	WakeAtMs int64  `bson:"wakeAt,omitempty"`
	Body     []byte `bson:"body"`
}

func (d *rowDocument) row() persistence.Row {
	return persistence.Row{
		Kind: d.Kind, ID: d.ID[len(d.Kind)+1:], Version: uint64(d.Version), //nolint:gosec // bounded by CheckRow
		Owner: d.Owner, State: d.State, SortMs: d.SortMs, WakeAtMs: d.WakeAtMs, Body: d.Body,
	}
}

// PutRows implements persistence.Views.
func (s *Store) PutRows(ctx context.Context, rows []persistence.Row) error {
	models := make([]mongo.WriteModel, len(rows))
	for i := range rows {
		r := &rows[i]
		if err := persistence.CheckRow(r); err != nil {
			return err
		}
		version := int64(r.Version) //nolint:gosec // bounded by CheckRow
		d := rowDocument{
			ID: r.Kind + "/" + r.ID, Kind: r.Kind, Version: version, Owner: r.Owner, State: r.State,
			SortMs: r.SortMs, WakeAtMs: r.WakeAtMs, Body: notNil(r.Body),
		}
		filter := bson.D{{Key: "_id", Value: d.ID}, {Key: "version", Value: bson.D{{Key: "$lt", Value: version}}}}
		if r.Tracked {
			models[i] = mongo.NewUpdateOneModel().SetUpsert(true).SetFilter(filter).SetUpdate(replaceAndMark(&d))
			continue
		}
		models[i] = mongo.NewReplaceOneModel().SetUpsert(true).SetReplacement(d).SetFilter(filter)
	}
	if len(rows) == 0 {
		return ctx.Err()
	}
	return s.operate(ctx, fmt.Sprintf("put %d rows", len(rows)), func(ctx context.Context) error {
		// Where a version as high is stored the filter finds nothing, and
		// inserting meets its key. The first time that may also be a race for
		// the row's first version, after which there is one to compare with.
		models, err := s.putOnce(ctx, models)
		if err == nil && len(models) > 0 {
			_, err = s.putOnce(ctx, models)
		}
		return err
	})
}

// putOnce returns the writes that met a key.
func (s *Store) putOnce(ctx context.Context, models []mongo.WriteModel) (met []mongo.WriteModel, err error) {
	_, err = s.views.BulkWrite(ctx, models, options.BulkWrite().SetOrdered(false))
	var bulk mongo.BulkWriteException
	if !errors.As(err, &bulk) || bulk.WriteConcernError != nil {
		return nil, err
	}
	for _, e := range bulk.WriteErrors {
		if e.Code != codeDuplicateKey {
			return nil, err
		}
		met = append(met, models[e.Index])
	}
	return met, nil
}

// GetRows implements persistence.Views.
func (s *Store) GetRows(ctx context.Context, kind string, ids []string) (map[string]persistence.Row, error) {
	keys := make([]string, len(ids))
	for i, id := range ids {
		keys[i] = kind + "/" + id
	}
	rows, err := s.find(ctx, fmt.Sprintf("get %d rows of kind %s", len(ids), kind),
		bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: keys}}}}, options.Find())
	found := make(map[string]persistence.Row, len(rows))
	for _, r := range rows {
		found[r.ID] = r
	}
	return found, err
}

// ListRows implements persistence.Views.
func (s *Store) ListRows(ctx context.Context, q persistence.ListQuery) ([]persistence.Row, error) {
	if q.Limit <= 0 {
		return nil, ctx.Err()
	}
	filter, index := listFilter(q)
	return s.find(ctx, "list rows of kind "+q.Kind, filter, options.Find().SetHint(index).
		SetSort(bson.D{{Key: "sort", Value: -1}, {Key: "_id", Value: -1}}).SetLimit(int64(min(q.Limit, persistence.MaxListRows))))
}

// listFilter picks the index that has the list's order.
func listFilter(q persistence.ListQuery) (bson.D, string) {
	index, filter := allIndex, bson.D{{Key: "kind", Value: q.Kind}}
	if q.State != "" {
		index, filter = stateIndex, append(filter, bson.E{Key: "state", Value: q.State})
	}
	if q.Owner != "" {
		index, filter = ownerIndex, append(filter, bson.E{Key: "owner", Value: q.Owner})
	}
	if q.AfterID != "" {
		filter = append(filter,
			bson.E{Key: "sort", Value: bson.D{{Key: "$lte", Value: q.AfterSortMs}}},
			bson.E{Key: "$or", Value: bson.A{
				bson.D{{Key: "sort", Value: bson.D{{Key: "$lt", Value: q.AfterSortMs}}}},
				bson.D{{Key: "_id", Value: bson.D{{Key: "$lt", Value: q.Kind + "/" + q.AfterID}}}},
			}})
	}
	return filter, index
}

// DueRows implements persistence.Views.
func (s *Store) DueRows(ctx context.Context, before time.Time, limit int) ([]persistence.Row, error) {
	if limit <= 0 {
		return nil, ctx.Err()
	}
	return s.find(ctx, "list due rows",
		bson.D{{Key: "wakeAt", Value: bson.D{{Key: "$gt", Value: 0}, {Key: "$lte", Value: before.UnixMilli()}}}},
		options.Find().SetHint(dueIndex).SetSort(bson.D{{Key: "wakeAt", Value: 1}, {Key: "_id", Value: 1}}).SetLimit(int64(limit)))
}

func (s *Store) find(ctx context.Context, what string, filter bson.D, o *options.FindOptionsBuilder) (rows []persistence.Row, err error) {
	err = s.operate(ctx, what, func(ctx context.Context) error {
		cursor, err := s.views.Find(ctx, filter, o)
		if err != nil {
			return err
		}
		var docs []rowDocument
		if err := cursor.All(ctx, &docs); err != nil {
			return err
		}
		for i := range docs {
			rows = append(rows, docs[i].row())
		}
		return nil
	})
	return rows, err
}
