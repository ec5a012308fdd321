package memstore

import (
	"bytes"
	"cmp"
	"context"
	"iter"
	"slices"
	"time"

	"stampede/persistence"
)

// PutRows implements persistence.Views.
func (s *Store) PutRows(ctx context.Context, rows []persistence.Row) error {
	for i := range rows {
		if err := persistence.CheckRow(&rows[i]); err != nil {
			return err
		}
	}
	if err := s.usable(ctx); err != nil {
		return err
	}
	d := s.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, row := range rows {
		k := rowKey{row.Kind, row.ID}
		if there, exists := d.rows[k]; !exists || there.Version < row.Version {
			row.Body = bytes.Clone(row.Body)
			if row.Tracked {
				d.changed++
				d.changes[k] = d.changed
			}
			row.Tracked = false
			d.rows[k] = row
		}
	}
	return nil
}

// Changes implements persistence.Views.
func (s *Store) Changes(ctx context.Context, kind string, since uint64) iter.Seq2[persistence.Change, error] {
	return func(yield func(persistence.Change, error) bool) {
		if err := s.usable(ctx); err != nil {
			yield(persistence.Change{}, err)
			return
		}
		for _, c := range s.disk.changesOf(kind, since) {
			if !yield(c, nil) {
				return
			}
		}
	}
}

func (d *Disk) changesOf(kind string, since uint64) (all []persistence.Change) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for k, mark := range d.changes {
		if k.kind == kind && mark > since {
			all = append(all, persistence.Change{ID: k.id, Version: d.rows[k].Version, Mark: mark})
		}
	}
	slices.SortFunc(all, func(a, b persistence.Change) int { return cmp.Compare(a.Mark, b.Mark) })
	return all
}

// LastChange implements persistence.Views.
func (s *Store) LastChange(ctx context.Context, kind string) (uint64, error) {
	if err := s.usable(ctx); err != nil {
		return 0, err
	}
	all := s.disk.changesOf(kind, 0)
	if len(all) == 0 {
		return 0, nil
	}
	return all[len(all)-1].Mark, nil
}

// GetRows implements persistence.Views.
func (s *Store) GetRows(ctx context.Context, kind string, ids []string) (map[string]persistence.Row, error) {
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	d := s.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	found := make(map[string]persistence.Row, len(ids))
	for _, id := range ids {
		if row, exists := d.rows[rowKey{kind, id}]; exists {
			row.Body = bytes.Clone(row.Body)
			found[id] = row
		}
	}
	return found, nil
}

// ListRows implements persistence.Views.
func (s *Store) ListRows(ctx context.Context, q persistence.ListQuery) ([]persistence.Row, error) {
	newestFirst := func(a, b persistence.Row) int {
		return cmp.Or(cmp.Compare(b.SortMs, a.SortMs), cmp.Compare(b.ID, a.ID))
	}
	last := persistence.Row{SortMs: q.AfterSortMs, ID: q.AfterID}
	return s.rows(ctx, min(q.Limit, persistence.MaxListRows), newestFirst, func(r persistence.Row) bool {
		return r.Kind == q.Kind && (q.Owner == "" || r.Owner == q.Owner) && (q.State == "" || r.State == q.State) &&
			(q.AfterID == "" || newestFirst(last, r) < 0)
	})
}

// DueRows implements persistence.Views.
func (s *Store) DueRows(ctx context.Context, before time.Time, limit int) ([]persistence.Row, error) {
	earliestFirst := func(a, b persistence.Row) int {
		return cmp.Or(cmp.Compare(a.WakeAtMs, b.WakeAtMs), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.ID, b.ID))
	}
	return s.rows(ctx, limit, earliestFirst, func(r persistence.Row) bool { return 0 < r.WakeAtMs && r.WakeAtMs <= before.UnixMilli() })
}

// rows copies the first rows in an order that fit a filter.
func (s *Store) rows(ctx context.Context, limit int, order func(a, b persistence.Row) int, fits func(persistence.Row) bool) ([]persistence.Row, error) {
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	d := s.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	var found []persistence.Row
	for _, row := range d.rows {
		if fits(row) {
			found = append(found, row)
		}
	}
	slices.SortFunc(found, order)
	found = found[:min(len(found), max(0, limit))]
	for i := range found {
		found[i].Body = bytes.Clone(found[i].Body)
	}
	return found, nil
}
