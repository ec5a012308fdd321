package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/segmentio/kafka-go"
	_ "modernc.org/sqlite"
)

const tables = `
CREATE TABLE IF NOT EXISTS position (partition INTEGER PRIMARY KEY, next INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS stock (
	sku TEXT PRIMARY KEY, sequence INTEGER NOT NULL, sold INTEGER NOT NULL,
	on_hand INTEGER NOT NULL, available INTEGER NOT NULL, held INTEGER NOT NULL, committed INTEGER NOT NULL, unavailable INTEGER NOT NULL
);`

func open(ctx context.Context, path string) (*sql.DB, error) {
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(10000)&_txlock=immediate")
	if err != nil {
		return nil, err
	}
	if _, err := db.ExecContext(ctx, tables); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// position is the offset of the next message of a partition.
func position(ctx context.Context, db *sql.DB, partition int) (int64, error) {
	next := kafka.FirstOffset
	err := db.QueryRowContext(ctx, `SELECT next FROM position WHERE partition = ?`, partition).Scan(&next)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return next, err
}

// stockEvent is what is used of the data. Every event on the topic has the level after it.
type stockEvent struct {
	Quantity int64 `json:"quantity"`
	Level    struct {
		SKU         string `json:"sku"`
		OnHand      int64  `json:"onHand"`
		Available   int64  `json:"available"`
		Held        int64  `json:"held"`
		Committed   int64  `json:"committed"`
		Unavailable int64  `json:"unavailable"`
	} `json:"level"`
}

// take does what a message says and moves the position behind it, both or neither.
func take(ctx context.Context, db *sql.DB, m *kafka.Message) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // after a commit there is nothing to roll back
	moved, err := tx.ExecContext(ctx, `INSERT INTO position (partition, next) VALUES (?1, ?2 + 1)
		ON CONFLICT (partition) DO UPDATE SET next = ?2 + 1 WHERE next <= ?2`, m.Partition, m.Offset)
	if err != nil {
		return err
	}
	if rows, err := moved.RowsAffected(); err != nil || rows != 1 {
		return errors.Join(errMoved, err)
	}
	if err := apply(ctx, tx, m); err != nil {
		return fmt.Errorf("offset %d: %w", m.Offset, err)
	}
	return tx.Commit()
}

func apply(ctx context.Context, tx *sql.Tx, m *kafka.Message) error {
	sequence, err := strconv.ParseInt(header(m, "ce_sequence"), 10, 64)
	if err != nil {
		return err
	}
	var last int64
	err = tx.QueryRowContext(ctx, `SELECT sequence FROM stock WHERE sku = ?`, string(m.Key)).Scan(&last)
	switch {
	case errors.Is(err, sql.ErrNoRows): // the first that is still in the topic: earlier ones may have been deleted by then
	case err != nil:
		return err
	case sequence <= last:
		return nil // a repeat: its effect is there
	case sequence != last+1: // cannot be, as long as the topic is kept longer than this program is away
		return fmt.Errorf("%s: event %d follows %d: some are lost, ask for them with `stampede events replay`", m.Key, sequence, last)
	}
	var e stockEvent
	if err := json.Unmarshal(m.Value, &e); err != nil {
		return err
	}
	var sold int64
	if header(m, "ce_type") == "ReservationConfirmed" {
		sold = e.Quantity
	}
	l := e.Level
	_, err = tx.ExecContext(ctx, `INSERT INTO stock (sku, sequence, sold, on_hand, available, held, committed, unavailable) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
		ON CONFLICT (sku) DO UPDATE SET sequence = ?2, sold = sold + ?3, on_hand = ?4, available = ?5, held = ?6, committed = ?7, unavailable = ?8`,
		string(m.Key), sequence, sold, l.OnHand, l.Available, l.Held, l.Committed, l.Unavailable)
	return err
}

func header(m *kafka.Message, key string) string {
	for _, h := range m.Headers {
		if h.Key == key {
			return string(h.Value)
		}
	}
	return ""
}
