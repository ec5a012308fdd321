package sqlite

// Incarnations and settings: small, rare, and as durable as a record.

import (
	"context"
	"database/sql/driver"
	"fmt"
	"time"

	"stampede/actors/entity"
	"stampede/persistence"
)

// OpenEpoch implements persistence.Journal.
func (s *Store) OpenEpoch(ctx context.Context, node string) (entity.Epoch, error) {
	if err := s.acquire(ctx); err != nil {
		return 0, fmt.Errorf("open an epoch for %s: %w", node, err)
	}
	defer s.release()
	var epoch int64
	err := s.journal.transact(func() error {
		if _, err := s.journal.exec("INSERT INTO epochs (node, started_at) VALUES (?, ?)", node, time.Now().UnixMilli()); err != nil {
			return err
		}
		var err error
		if epoch, _, err = s.journal.one("SELECT max(epoch) FROM epochs"); err != nil {
			return err
		}
		if epoch > persistence.MaxEpoch {
			return fmt.Errorf("all %d epochs are used up: %w", persistence.MaxEpoch, persistence.ErrInvalid)
		}
		return nil
	})
	s.wroteBeside(0, err)
	if err == nil {
		err = s.cache.noteEpoch(ctx, epoch)
	}
	if err != nil {
		return 0, fmt.Errorf("open an epoch for %s: %w: %w", node, entity.ErrUnavailable, err)
	}
	return entity.Epoch(epoch), nil //nolint:gosec // bounded above
}

// Epochs implements persistence.Journal.
func (s *Store) Epochs(ctx context.Context) (all []persistence.EpochInfo, err error) {
	err = s.records.use(ctx, func(c *conn) error {
		return c.query("SELECT epoch, node, started_at FROM epochs ORDER BY epoch", func(row []driver.Value) bool {
			all = append(all, persistence.EpochInfo{
				Epoch: entity.Epoch(number(row[0])), Node: text(row[1]), StartedAt: time.UnixMilli(number(row[2])), //nolint:gosec // bounded when written
			})
			return true
		})
	})
	if err != nil {
		return nil, fmt.Errorf("list epochs: %w", err)
	}
	return all, nil
}

// Setting implements persistence.Settings.
func (s *Store) Setting(ctx context.Context, name string, value []byte) ([]byte, error) {
	if err := persistence.CheckSetting(name, value); err != nil {
		return nil, err
	}
	if err := s.acquire(ctx); err != nil {
		return nil, fmt.Errorf("setting %s: %w", name, err)
	}
	defer s.release()
	var stored []byte
	_, err := s.journal.exec("INSERT INTO settings (name, value) VALUES (?, ?) ON CONFLICT DO NOTHING", name, bytesOrEmpty(value))
	s.wroteBeside(len(value), err)
	if err == nil {
		err = s.journal.query("SELECT value FROM settings WHERE name = ?", func(row []driver.Value) bool {
			stored = bytesOrEmpty(blob(row[0]))
			return false
		}, name)
	}
	if err != nil {
		return nil, fmt.Errorf("setting %s: %w: %w", name, entity.ErrUnavailable, err)
	}
	return stored, nil
}
