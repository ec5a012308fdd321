package sqlite

// Following what was put: each tracked row has a number that grows whenever it
// is put. The cache has one writer, so numbers are seen in their order.

import (
	"context"
	"database/sql/driver"
	"fmt"
	"iter"
	"math"

	"stampede/persistence"
)

const (
	noteChange  = "INSERT OR REPLACE INTO changes (kind, id, version) VALUES (?, ?, ?)"
	listChanges = "SELECT id, version, n FROM changes INDEXED BY changes_order WHERE kind = ? AND n > ? ORDER BY n LIMIT ?"
	lastChange  = "SELECT n FROM changes INDEXED BY changes_order WHERE kind = ? ORDER BY n DESC LIMIT 1"

	changesPage = 1_000
)

// Changes implements persistence.Views.
func (s *Store) Changes(ctx context.Context, kind string, since uint64) iter.Seq2[persistence.Change, error] {
	return func(yield func(persistence.Change, error) bool) {
		for more := true; more; {
			var page []persistence.Change
			err := s.views.use(ctx, func(c *conn) error {
				return c.query(listChanges, func(row []driver.Value) bool {
					//nolint:gosec // stored from unsigned numbers
					page = append(page, persistence.Change{ID: text(row[0]), Version: uint64(number(row[1])), Mark: uint64(number(row[2]))})
					return true
				}, kind, int64(min(since, math.MaxInt64)), int64(changesPage)) //nolint:gosec // bounded on this line
			})
			if err != nil {
				yield(persistence.Change{}, fmt.Errorf("changes of kind %s: %w", kind, err))
				return
			}
			for _, c := range page {
				if !yield(c, nil) {
					return
				}
				since = c.Mark
			}
			more = len(page) == changesPage
		}
	}
}

// LastChange implements persistence.Views.
func (s *Store) LastChange(ctx context.Context, kind string) (mark uint64, err error) {
	err = s.views.use(ctx, func(c *conn) error {
		return c.query(lastChange, func(row []driver.Value) bool {
			mark = uint64(number(row[0])) //nolint:gosec // a row's number
			return false
		}, kind)
	})
	if err != nil {
		return 0, fmt.Errorf("last change of kind %s: %w", kind, err)
	}
	return mark, nil
}
