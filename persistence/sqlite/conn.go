package sqlite

// One connection to SQLite, without database/sql in between: a connection has
// one owner, no statement is interrupted, and the reads that a new actor begins
// with cost a third less (docs/decisions/0011).

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"

	"modernc.org/sqlite"

	"stampede/actors/entity"
	"stampede/persistence"
)

// conn is one connection. It belongs to one goroutine at a time.
type conn struct {
	c driver.Conn
	// stmts are what was prepared on it, by SQL text; closed with it.
	stmts map[string]*stmt
}

// stmt is a prepared statement of one connection.
type stmt struct {
	sql  string
	exe  driver.StmtExecContext
	qry  driver.StmtQueryContext
	done func() error
	args []driver.NamedValue
	// dest receives a row's columns.
	dest []driver.Value
}

// dial opens a connection with pragmas in the form "name=value".
func dial(path string, pragmas ...string) (*conn, error) {
	q := make(url.Values)
	q.Set("_txlock", "immediate")
	q.Set("_busy_timeout", "10000")
	q.Set("psow", "1") // SQLite's default; afterFailedCommit counts on it
	for _, p := range pragmas {
		q.Add("_pragma", p)
	}
	// The path is escaped: a question mark or percent sign in it is part of the name.
	name := "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + q.Encode()
	connector, err := sqlite.NewConnector(name)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	c, err := connector.Connect(context.Background())
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	return &conn{c: c, stmts: make(map[string]*stmt)}, nil
}

// expectDurable refuses a connection whose commits could be lost: SQLite takes
// another journal mode, without an error, where a file system has no shared memory.
func expectDurable(c *conn) error {
	var mode string
	err := c.query("PRAGMA journal_mode", func(row []driver.Value) bool { mode = text(row[0]); return false })
	if err != nil {
		return err
	}
	sync, _, err := c.one("PRAGMA synchronous")
	if err != nil {
		return err
	}
	const full = 2
	if mode != "wal" || sync < full {
		return fmt.Errorf("%w: SQLite's journal mode is %s and synchronous is %d; the file system may not support a write-ahead log", persistence.ErrUnsafe, mode, sync)
	}
	return nil
}

// prepare returns the statement for sql, prepared once a connection.
func (c *conn) prepare(sql string) (*stmt, error) {
	if st := c.stmts[sql]; st != nil {
		return st, nil
	}
	s, err := c.c.(driver.ConnPrepareContext).PrepareContext(context.Background(), sql)
	if err != nil {
		return nil, fmt.Errorf("prepare %.60q: %w", sql, err)
	}
	st := &stmt{sql: sql, exe: s.(driver.StmtExecContext), qry: s.(driver.StmtQueryContext), done: s.Close}
	c.stmts[sql] = st
	return st, nil
}

// exec runs one statement to its end and returns how many rows it changed.
func (c *conn) exec(sql string, args ...driver.Value) (int64, error) {
	st, err := c.prepare(sql)
	if err != nil {
		return 0, err
	}
	return st.exec(args...)
}

// query runs one statement and hands each row to each, until that returns
// false. A row's values are each's to keep; the slice is not.
func (c *conn) query(sql string, each func(row []driver.Value) bool, args ...driver.Value) error {
	st, err := c.prepare(sql)
	if err != nil {
		return err
	}
	return st.query(each, args...)
}

// script runs statements that are used once, such as a schema.
func (c *conn) script(sql string) error {
	_, err := c.c.(driver.ExecerContext).ExecContext(context.Background(), sql, nil)
	return err
}

// transact runs fn in a transaction of its own.
func (c *conn) transact(fn func() error) error {
	if _, err := c.exec("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	err := fn()
	if err == nil {
		_, err = c.exec("COMMIT")
	}
	if err != nil {
		// A failed COMMIT has mostly ended the transaction by itself; what
		// matters is that none is open afterwards, which the next BEGIN shows.
		_, rollback := c.exec("ROLLBACK")
		_ = rollback
	}
	return err
}

func (c *conn) close() error {
	var errs []error
	for _, st := range c.stmts {
		errs = append(errs, st.done())
	}
	return errors.Join(append(errs, c.c.Close())...)
}

func (st *stmt) bind(args []driver.Value) []driver.NamedValue {
	for len(st.args) < len(args) {
		st.args = append(st.args, driver.NamedValue{Ordinal: len(st.args) + 1})
	}
	for i, a := range args {
		st.args[i].Value = a
	}
	return st.args[:len(args)]
}

// release lets go of what the arguments held.
func (st *stmt) release() {
	for i := range st.args {
		st.args[i].Value = nil
	}
}

func (st *stmt) exec(args ...driver.Value) (int64, error) {
	defer st.release()
	// Never with the caller's context: an interrupted write would be one whose
	// outcome nobody knows, and each statement here is bounded by itself.
	r, err := st.exe.ExecContext(context.Background(), st.bind(args))
	if err != nil {
		return 0, fmt.Errorf("%.60q: %w", st.sql, err)
	}
	return r.RowsAffected()
}

func (st *stmt) query(each func(row []driver.Value) bool, args ...driver.Value) (err error) {
	defer st.release()
	rows, err := st.qry.QueryContext(context.Background(), st.bind(args))
	if err != nil {
		return fmt.Errorf("%.60q: %w", st.sql, err)
	}
	defer func() {
		if e := rows.Close(); e != nil && err == nil {
			err = fmt.Errorf("%.60q: %w", st.sql, e)
		}
	}()
	if st.dest == nil {
		st.dest = make([]driver.Value, len(rows.Columns()))
	}
	defer clear(st.dest)
	for {
		err := rows.Next(st.dest)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%.60q: %w", st.sql, err)
		}
		if !each(st.dest) {
			return nil
		}
	}
}

// pool is a bounded number of connections to one file, for reading.
type pool struct {
	path    string
	pragmas []string
	closed  <-chan struct{}
	// free holds idle connections; a nil one stands for one still to be opened.
	free chan *conn
}

func newPool(path string, size int, closed <-chan struct{}, pragmas ...string) *pool {
	p := &pool{path: path, pragmas: append(pragmas, "query_only=1"), closed: closed, free: make(chan *conn, size)}
	for range size {
		p.free <- nil
	}
	return p
}

// use lends a connection to fn.
func (p *pool) use(ctx context.Context, fn func(*conn) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case <-p.closed:
		return fmt.Errorf("%w: %w", entity.ErrUnavailable, persistence.ErrClosed)
	default:
	}
	var c *conn
	select {
	case c = <-p.free:
	default:
		select {
		case c = <-p.free:
		case <-p.closed:
			return fmt.Errorf("%w: %w", entity.ErrUnavailable, persistence.ErrClosed)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if c == nil {
		var err error
		if c, err = dial(p.path, p.pragmas...); err != nil {
			p.free <- nil
			return err
		}
	}
	defer func() { p.free <- c }()
	return fn(c)
}

// close waits until all connections are back and closes them.
func (p *pool) close() error {
	var errs []error
	for range cap(p.free) {
		if c := <-p.free; c != nil {
			errs = append(errs, c.close())
		}
	}
	return errors.Join(errs...)
}

// blob and text are how SQLite's values come back.
func blob(v driver.Value) []byte {
	b, _ := v.([]byte)
	return b
}

func text(v driver.Value) string {
	if b, ok := v.([]byte); ok {
		return string(b)
	}
	s, _ := v.(string)
	return s
}

func number(v driver.Value) int64 {
	n, _ := v.(int64)
	return n
}

// bytesOrEmpty keeps an empty value apart from NULL.
func bytesOrEmpty(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// placeholders is n times "(?,…)" with the given number of columns.
func placeholders(rows, columns int) string {
	one := "(?" + strings.Repeat(",?", columns-1) + ")"
	return one + strings.Repeat(","+one, rows-1)
}
