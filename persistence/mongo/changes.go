package mongo

// Following what was put: each tracked row carries the time of the primary at
// which it was. Nodes have clocks of their own; the primary has one.

import (
	"context"
	"fmt"
	"iter"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"stampede/persistence"
)

// changesOverlap is how far before a mark changes are read again: longer than a
// write can take between being given its time and being seen, and than the
// clocks of two primaries may differ. What comes again costs an entry of the
// index, not a row.
const changesOverlap = 10 * time.Second

// replaceAndMark replaces a row and notes the primary's time.
func replaceAndMark(d *rowDocument) bson.A {
	return bson.A{
		bson.D{{Key: "$replaceWith", Value: bson.D{{Key: "$mergeObjects", Value: bson.A{
			bson.D{{Key: "$literal", Value: d}},
			bson.D{{Key: "changed", Value: bson.D{{Key: "$toLong", Value: "$$NOW"}}}},
		}}}}},
	}
}

// Changes implements persistence.Views. Marks are Unix milliseconds.
func (s *Store) Changes(ctx context.Context, kind string, since uint64) iter.Seq2[persistence.Change, error] {
	return func(yield func(persistence.Change, error) bool) {
		from := max(int64(min(since, persistence.MaxPosition))-changesOverlap.Milliseconds(), -1) //nolint:gosec // bounded
		last := ""
		for more := true; more; {
			var page []changeDocument
			err := s.operate(ctx, "changes of "+kind, func(ctx context.Context) error {
				o := options.Find().SetSort(bson.D{{Key: "changed", Value: 1}, {Key: "_id", Value: 1}}).SetLimit(changesPage)
				return s.findChanges(ctx, changesFilter(kind, from, last), o, &page)
			})
			if err != nil {
				yield(persistence.Change{}, err)
				return
			}
			for i := range page {
				d := &page[i]
				if !yield(persistence.Change{ID: d.ID[len(kind)+1:], Version: uint64(d.Version), Mark: uint64(d.Changed)}, nil) { //nolint:gosec // bounded by CheckRow
					return
				}
				from, last = d.Changed, d.ID
			}
			more = len(page) == changesPage
		}
	}
}

const changesPage = 1_000

// changesFilter is what was put after the time, and at it with a greater id.
func changesFilter(kind string, from int64, last string) bson.D {
	filter := bson.D{{Key: "kind", Value: kind}}
	if last == "" {
		return append(filter, bson.E{Key: "changed", Value: bson.D{{Key: "$gt", Value: from}}})
	}
	return append(filter,
		bson.E{Key: "changed", Value: bson.D{{Key: "$gte", Value: from}}},
		bson.E{Key: "$or", Value: bson.A{
			bson.D{{Key: "changed", Value: bson.D{{Key: "$gt", Value: from}}}},
			bson.D{{Key: "_id", Value: bson.D{{Key: "$gt", Value: last}}}},
		}})
}

type changeDocument struct {
	ID      string `bson:"_id"`
	Version int64  `bson:"version"`
	Changed int64  `bson:"changed"`
}

func (s *Store) findChanges(ctx context.Context, filter bson.D, o *options.FindOptionsBuilder, into *[]changeDocument) error {
	o.SetHint(changedIndex).SetProjection(bson.D{{Key: "_id", Value: 1}, {Key: "version", Value: 1}, {Key: "changed", Value: 1}})
	cursor, err := s.views.Find(ctx, filter, o)
	if err != nil {
		return err
	}
	return cursor.All(ctx, into)
}

// LastChange implements persistence.Views.
func (s *Store) LastChange(ctx context.Context, kind string) (uint64, error) {
	var newest []changeDocument
	err := s.operate(ctx, fmt.Sprintf("last change of %s", kind), func(ctx context.Context) error {
		o := options.Find().SetSort(bson.D{{Key: "changed", Value: -1}, {Key: "_id", Value: -1}}).SetLimit(1)
		return s.findChanges(ctx, changesFilter(kind, -1, ""), o, &newest)
	})
	if err != nil || len(newest) == 0 {
		return 0, err
	}
	return uint64(newest[0].Changed), nil //nolint:gosec // a time
}
