package sqlite

// The views: rows that lists are read from, each list straight from an index.

import (
	"context"
	"database/sql/driver"
	"fmt"
	"time"

	"stampede/persistence"
)

const (
	selectRow = "SELECT kind, id, version, owner, state, sort_ms, wake_at, body FROM views "
	insertRow = "INSERT INTO views (kind, id, version, owner, state, sort_ms, wake_at, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?) "
	// putRow is for a row that is new, or keeps its place in the lists but for
	// its state, as an order does: the indexes by owner and by time are left alone.
	putRow = insertRow + `ON CONFLICT (kind, id) DO UPDATE SET version = excluded.version, state = excluded.state,
		wake_at = excluded.wake_at, body = excluded.body
		WHERE excluded.version > version AND owner = excluded.owner AND sort_ms = excluded.sort_ms`
	// moveRow is for one that changes its place, or that there is a newer one of.
	moveRow = insertRow + `ON CONFLICT (kind, id) DO UPDATE SET version = excluded.version, owner = excluded.owner, state = excluded.state,
		sort_ms = excluded.sort_ms, wake_at = excluded.wake_at, body = excluded.body
		WHERE excluded.version > version`
	dueRows = selectRow + "INDEXED BY views_due WHERE wake_at > 0 AND wake_at <= ? ORDER BY wake_at, kind, id LIMIT ?"
)

// PutRows implements persistence.Views. Either all rows are put or none.
func (s *Store) PutRows(ctx context.Context, rows []persistence.Row) error {
	for i := range rows {
		if err := persistence.CheckRow(&rows[i]); err != nil {
			return err
		}
	}
	if len(rows) == 0 {
		return ctx.Err()
	}
	err := s.cache.do(ctx, func(c *conn) error {
		for i := range rows {
			if err := put(c, &rows[i]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("put %d rows: %w", len(rows), err)
	}
	return nil
}

func put(c *conn, r *persistence.Row) error {
	version, body := int64(r.Version), bytesOrEmpty(r.Body) //nolint:gosec // bounded by CheckRow
	changed, err := c.exec(putRow, r.Kind, r.ID, version, r.Owner, r.State, r.SortMs, r.WakeAtMs, body)
	if err == nil && changed == 0 {
		changed, err = c.exec(moveRow, r.Kind, r.ID, version, r.Owner, r.State, r.SortMs, r.WakeAtMs, body)
	}
	if err == nil && changed == 1 && r.Tracked {
		_, err = c.exec(noteChange, r.Kind, r.ID, version)
	}
	return err
}

// GetRows implements persistence.Views.
func (s *Store) GetRows(ctx context.Context, kind string, ids []string) (map[string]persistence.Row, error) {
	found := make(map[string]persistence.Row, len(ids))
	err := s.views.use(ctx, func(c *conn) error {
		for _, id := range ids {
			err := c.query(selectRow+"WHERE kind = ? AND id = ?", func(row []driver.Value) bool {
				found[id] = rowOf(row)
				return false
			}, kind, id)
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("get %d rows of kind %s: %w", len(ids), kind, err)
	}
	return found, nil
}

// ListRows implements persistence.Views.
func (s *Store) ListRows(ctx context.Context, q persistence.ListQuery) ([]persistence.Row, error) {
	if q.Limit <= 0 {
		return nil, ctx.Err()
	}
	sql, args := listSQL(q)
	rows, err := s.list(ctx, sql, args)
	if err != nil {
		return nil, fmt.Errorf("list rows of kind %s: %w", q.Kind, err)
	}
	return rows, nil
}

// listSQL picks the index that has the list's order. A partial index is used
// only where the query repeats its condition.
func listSQL(q persistence.ListQuery) (string, []driver.Value) {
	args := []driver.Value{q.Kind}
	index, where := "views_all", "kind = ?"
	if q.State != "" {
		index, where = "views_state", where+" AND state = ? AND state <> ''"
		args = append(args, q.State)
	}
	if q.Owner != "" {
		index, where = "views_owner", where+" AND owner = ? AND owner <> ''"
		args = append(args, q.Owner)
	}
	if q.AfterID != "" {
		where += " AND (sort_ms, id) < (?, ?)"
		args = append(args, q.AfterSortMs, q.AfterID)
	}
	args = append(args, int64(min(q.Limit, persistence.MaxListRows)))
	return selectRow + "INDEXED BY " + index + " WHERE " + where + " ORDER BY sort_ms DESC, id DESC LIMIT ?", args
}

// DueRows implements persistence.Views.
func (s *Store) DueRows(ctx context.Context, before time.Time, limit int) ([]persistence.Row, error) {
	if limit <= 0 {
		return nil, ctx.Err()
	}
	rows, err := s.list(ctx, dueRows, []driver.Value{before.UnixMilli(), int64(limit)})
	if err != nil {
		return nil, fmt.Errorf("list due rows: %w", err)
	}
	return rows, nil
}

func (s *Store) list(ctx context.Context, sql string, args []driver.Value) (rows []persistence.Row, err error) {
	err = s.views.use(ctx, func(c *conn) error {
		return c.query(sql, func(row []driver.Value) bool {
			rows = append(rows, rowOf(row))
			return true
		}, args...)
	})
	return rows, err
}

func rowOf(row []driver.Value) persistence.Row {
	return persistence.Row{
		Kind: text(row[0]), ID: text(row[1]), Version: uint64(number(row[2])), //nolint:gosec // bounded by CheckRow
		Owner: text(row[3]), State: text(row[4]), SortMs: number(row[5]), WakeAtMs: number(row[6]), Body: blob(row[7]),
	}
}
