// Package persistence says what Stampede needs of a database: a journal of
// records, snapshots, views and a few settings. Drivers live in folders of
// their own (sqlite, mongo) and all pass the suite in conformance.
package persistence

import (
	"context"
	"errors"
	"iter"
	"time"

	"stampede/actors/entity"
)

// Journal keeps records for good. It is the truth; everything else here can be
// rebuilt from it.
type Journal interface {
	// OpenEpoch hands out the number of a new incarnation, greater than all before.
	OpenEpoch(ctx context.Context, node string) (entity.Epoch, error)
	// Epochs lists all incarnations in ascending order.
	Epochs(ctx context.Context) ([]EpochInfo, error)
	// Append writes the records, each for itself: errs[i] is nil when records[i]
	// is durable, else it wraps entity.ErrFenced (another record has its stream
	// and seq, or, then with ErrPositionTaken, its epoch and position),
	// entity.ErrTooLarge or ErrInvalid (it was not sent), entity.ErrUnavailable
	// (it was surely not written) or entity.ErrUnknownOutcome. Appending a record
	// again (same stream, seq, epoch, position and checksum) is idempotent, so
	// an unknown outcome is resolved by appending again. Records and their
	// Events must not be changed until Append has returned. Append returns soon
	// after ctx has ended (a local write that has begun may be finished first),
	// and does not keep the slice after it has returned, except for a write that
	// it gave up on and called unknown.
	Append(ctx context.Context, records []*entity.Record) (errs []error)
	// ReadStream: see entity.Store.
	ReadStream(ctx context.Context, stream string, afterSeq uint64) iter.Seq2[*entity.Record, error]
	// ReadStreamBack yields the stream's records with Seq < beforeSeq, newest
	// first; a beforeSeq above all others means from the newest. Whoever stops
	// after a few records has made the store read a few. Like ReadStream it
	// checks neither gaps nor checksums, and has at least what was durable when
	// it was called.
	ReadStreamBack(ctx context.Context, stream string, beforeSeq uint64) iter.Seq2[*entity.Record, error]
	// ReadEpoch yields the records of an incarnation with Position > after in
	// order of Position. Positions may have gaps (records that were not written).
	ReadEpoch(ctx context.Context, epoch entity.Epoch, after uint64) iter.Seq2[*entity.Record, error]
	// MaxRecordBytes is the largest Record.Events that Append sends.
	MaxRecordBytes() int
}

// EpochInfo is one incarnation of a node.
type EpochInfo struct {
	Epoch     entity.Epoch
	Node      string
	StartedAt time.Time
}

// Snapshots: see entity.Store.
type Snapshots interface {
	LoadSnapshot(ctx context.Context, stream string) (*entity.Snapshot, error)
	SaveSnapshot(ctx context.Context, s *entity.Snapshot) error
}

// Row is what the views keep of one aggregate. Body's meaning is the
// projector's business; the other fields are what rows are found by.
type Row struct {
	Kind string
	ID   string
	// Version guards the row: it is only ever replaced by a higher one.
	Version uint64
	// Owner is whose it is (an order's customer), or empty.
	Owner string
	// State filters lists, e.g. an order's state or "published"; may be empty.
	State string
	// SortMs orders lists, newest first; ties are broken by ID, descending.
	SortMs int64
	// WakeAtMs: see entity.Record; 0 for none.
	WakeAtMs int64
	Body     []byte
	// Tracked rows are found by Changes. It is not part of what is read back.
	Tracked bool
}

// Change says that a tracked row was put.
type Change struct {
	ID      string
	Version uint64
	// Mark is the change's place among the changes of its kind.
	Mark uint64
}

// ListQuery asks for a page of rows of one kind.
type ListQuery struct {
	Kind string
	// Owner and State filter when not empty.
	Owner string
	State string
	// After is the last row of the previous page: its SortMs and ID. ID empty: from the start.
	AfterSortMs int64
	AfterID     string
	// Limit is at most MaxListRows.
	Limit int
}

// MaxListRows bounds a page of rows.
const MaxListRows = 1001

// Views are what lists are read from. They lag the journal by a moment and can
// be rebuilt from it.
type Views interface {
	// PutRows stores rows, each only over a lower version of itself.
	PutRows(ctx context.Context, rows []Row) error
	// GetRows returns the rows that exist, by id.
	GetRows(ctx context.Context, kind string, ids []string) (map[string]Row, error)
	ListRows(ctx context.Context, q ListQuery) ([]Row, error)
	// Changes yields the tracked rows of a kind that were put since the one with
	// the mark, in order of Mark: each row with its newest version. It is for
	// who follows what all nodes put: whatever is put after a change was
	// yielded is yielded by a call with that change's mark or a higher one that
	// begins later. A row may be yielded again that was before.
	Changes(ctx context.Context, kind string, since uint64) iter.Seq2[Change, error]
	// LastChange is the mark of the kind's newest change; 0: there is none.
	LastChange(ctx context.Context, kind string) (uint64, error)
	// DueRows lists rows with 0 < WakeAtMs <= before, earliest first.
	DueRows(ctx context.Context, before time.Time, limit int) ([]Row, error)
}

// Watermarks keep how far each reader of the log has come, per incarnation.
type Watermarks interface {
	// SaveWatermark records that the reader has done everything up to and
	// including position. It never takes a watermark back.
	SaveWatermark(ctx context.Context, reader string, epoch entity.Epoch, position uint64) error
	Watermarks(ctx context.Context, reader string) (map[entity.Epoch]uint64, error)
}

// Settings are small values that all nodes of a cluster share for good, such as
// the key that account ids are derived with.
type Settings interface {
	// Setting returns the stored value of name; if there is none it stores
	// value first. All callers see the same answer, for ever.
	Setting(ctx context.Context, name string, value []byte) ([]byte, error)
}

// Store is a driver. All its methods may be called from any goroutine.
type Store interface {
	Journal
	Snapshots
	Views
	Watermarks
	Settings
	// Ping reports whether the store can take writes now.
	Ping(ctx context.Context) error
	Close() error
}

// ErrInUse: another process has the data directory open.
var ErrInUse = errors.New("data directory is in use by another process")

// ErrUnsafe: the database would acknowledge writes that it could lose.
var ErrUnsafe = errors.New("database does not acknowledge durably")
