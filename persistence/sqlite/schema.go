package sqlite

// The three files of a data directory and their tables. What must survive is in
// journal.db alone; the other two are made again from it.

import (
	"database/sql/driver"
	"fmt"
)

const (
	// journalFile is the truth: records, epochs, settings. Every commit is
	// synced before it is acknowledged.
	journalFile = "journal.db"
	// indexFile finds a stream's records in journalFile. It is filled behind
	// the commits, in large sorted steps, and rebuilt when it is missing.
	indexFile = "index.db"
	// cacheFile has snapshots, views and the watermarks of the log's readers.
	// A power failure may take its newest transactions, never one from the
	// middle: a watermark is not ahead of the rows that were put before it.
	cacheFile = "cache.db"
	// lockFile is locked while a process has the directory open.
	lockFile = "LOCK"
)

// applicationID marks our files ("stmp"); schemaVersion is what this code reads.
const (
	applicationID = 0x73746d70
	schemaVersion = 1
)

// journalSchema: records.id is epoch<<positionBits | position, so that the
// records of one node's incarnation lie together in their order. There is no
// index by stream here on purpose (docs/decisions/0010). appends has one row
// for each transaction that index.db may not have yet: the ids it wrote.
const journalSchema = `
CREATE TABLE records (
	id            INTEGER PRIMARY KEY,
	stream        TEXT,
	seq           INTEGER,
	first_version INTEGER,
	last_version  INTEGER,
	wake_at       INTEGER,
	checksum      INTEGER,
	events        BLOB
);
CREATE TABLE appends (
	n   INTEGER PRIMARY KEY,
	ids BLOB
);
CREATE TABLE epochs (
	epoch      INTEGER PRIMARY KEY AUTOINCREMENT,
	node       TEXT NOT NULL,
	started_at INTEGER NOT NULL
);
CREATE TABLE settings (
	name  TEXT PRIMARY KEY,
	value BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE identity (
	one INTEGER PRIMARY KEY,
	id  BLOB NOT NULL
);
CREATE TABLE pings (
	one INTEGER PRIMARY KEY,
	at  INTEGER NOT NULL
);
`

// indexSchema: streams has (hash of the stream, seq, record's id). Two streams
// with one hash are told apart by the records themselves. upto is the newest
// row of appends that streams includes.
const indexSchema = `
CREATE TABLE streams (
	hash INTEGER NOT NULL,
	seq  INTEGER NOT NULL,
	id   INTEGER NOT NULL,
	PRIMARY KEY (hash, seq, id)
) WITHOUT ROWID;
CREATE TABLE indexed (
	one     INTEGER PRIMARY KEY,
	upto    INTEGER NOT NULL,
	journal BLOB NOT NULL
);
`

// cacheSchema: the rows themselves lie in the order in which they first came,
// so that new ones share pages; lists are read from the indexes. epoch is the
// newest incarnation that the cache has seen, and known.upto the newest row of
// appends that there was when it was last written: above the journal's, the
// journal is an older one, put back, and the cache knows things that never were.
const cacheSchema = `
CREATE TABLE snapshots (
	stream   TEXT PRIMARY KEY,
	seq      INTEGER NOT NULL,
	version  INTEGER NOT NULL,
	checksum INTEGER NOT NULL,
	state    BLOB NOT NULL
);
CREATE TABLE views (
	kind    TEXT NOT NULL,
	id      TEXT NOT NULL,
	version INTEGER NOT NULL,
	owner   TEXT NOT NULL,
	state   TEXT NOT NULL,
	sort_ms INTEGER NOT NULL,
	wake_at INTEGER NOT NULL,
	body    BLOB NOT NULL,
	UNIQUE (kind, id)
);
CREATE INDEX views_all ON views (kind, sort_ms, id);
CREATE INDEX views_state ON views (kind, state, sort_ms, id) WHERE state <> '';
CREATE INDEX views_owner ON views (kind, owner, sort_ms, id) WHERE owner <> '';
CREATE INDEX views_due ON views (wake_at, kind, id) WHERE wake_at > 0;
CREATE TABLE watermarks (
	reader   TEXT NOT NULL,
	epoch    INTEGER NOT NULL,
	position INTEGER NOT NULL,
	PRIMARY KEY (reader, epoch)
) WITHOUT ROWID;
CREATE TABLE cached (
	one     INTEGER PRIMARY KEY,
	epoch   INTEGER NOT NULL,
	journal BLOB NOT NULL
);
` + knownSchema

// knownSchema is by itself because files of before do not have it.
const knownSchema = `
CREATE TABLE IF NOT EXISTS known (
	one  INTEGER PRIMARY KEY,
	upto INTEGER NOT NULL
);
`

// changesSchema is by itself for the same reason. n grows with every tracked row
// that is put, and with one writer it does so in the order in which they are seen.
const changesSchema = `
CREATE TABLE IF NOT EXISTS changes (
	n       INTEGER PRIMARY KEY AUTOINCREMENT,
	kind    TEXT NOT NULL,
	id      TEXT NOT NULL,
	version INTEGER NOT NULL,
	UNIQUE (kind, id)
);
CREATE INDEX IF NOT EXISTS changes_order ON changes (kind, n);
`

// migrate makes the tables of a new file, and refuses a file that is not ours
// or that a newer version of the program wrote.
func migrate(c *conn, name, schema string) error {
	var app, version, tables int64
	for _, q := range []struct {
		sql string
		to  *int64
	}{
		{"PRAGMA application_id", &app},
		{"PRAGMA user_version", &version},
		{"SELECT count(*) FROM sqlite_schema", &tables},
	} {
		if err := c.query(q.sql, func(row []driver.Value) bool { *q.to = number(row[0]); return false }); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	switch {
	case tables == 0:
		return c.transact(func() error {
			return c.script(fmt.Sprintf("%s PRAGMA application_id = %d; PRAGMA user_version = %d;", schema, applicationID, schemaVersion))
		})
	case app != applicationID:
		return fmt.Errorf("%s is not a file of this program", name)
	case version > schemaVersion:
		return fmt.Errorf("%s was written by a newer version of this program (format %d, this one reads %d)", name, version, schemaVersion)
	}
	return nil
}

// JournalFile is in every data directory that a store was opened in.
const JournalFile = journalFile
