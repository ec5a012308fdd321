package persistence

// The bounds that all drivers share, and the checks that come before anything
// is sent. They are the tightest of what the databases themselves allow, so
// that what one driver takes, every driver takes.

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"unicode/utf8"

	"stampede/actors/entity"
)

const (
	// MaxRecordBytes bounds Record.Events, Snapshot.State and Row.Body: a
	// MongoDB document holds 16 MiB, and half of it leaves room for everything
	// around the bytes.
	MaxRecordBytes = 8 << 20
	// MaxStreamBytes bounds kind/id, so that an index entry stays small.
	MaxStreamBytes = 1024
	// MaxPosition bounds Record.Position; at a million records a second an
	// incarnation reaches it after twelve days.
	MaxPosition = 1<<40 - 1
	// MaxEpoch bounds entity.Epoch: with MaxPosition it fits a 63-bit key. A
	// node that restarts every minute reaches it after sixteen years.
	MaxEpoch = 1<<23 - 1
)

var (
	// ErrInvalid: what was given cannot be stored as it is. A fault of the
	// caller; repeating it will not help. Nothing was written.
	ErrInvalid = errors.New("not fit to be stored")
	// ErrPositionTaken: another record has this epoch and position. It always
	// comes with entity.ErrFenced: somebody else writes in this incarnation's name.
	ErrPositionTaken = errors.New("epoch and position are taken by another record")
	// ErrClosed: the store was closed. It always comes with entity.ErrUnavailable.
	ErrClosed = errors.New("store is closed")
)

// CheckRecord reports a record that no driver sends: with entity.ErrTooLarge
// or ErrInvalid. It does not verify the checksum: that is its reader's
// business, which must be able to see what is wrong.
func CheckRecord(r *entity.Record) error {
	if err := checkStream(r.Kind, r.ID); err != nil {
		return err
	}
	if len(r.Events) > MaxRecordBytes {
		return fmt.Errorf("record %d of %s: events of %d bytes, the limit is %d: %w", r.Seq, r.Stream(), len(r.Events), MaxRecordBytes, entity.ErrTooLarge)
	}
	switch {
	case r.Seq == 0 || r.Seq > math.MaxInt64:
		return fmt.Errorf("record of %s: seq %d is not between 1 and %d: %w", r.Stream(), r.Seq, int64(math.MaxInt64), ErrInvalid)
	case r.Epoch == 0 || r.Epoch > MaxEpoch:
		return fmt.Errorf("record %d of %s: epoch %d is not between 1 and %d: %w", r.Seq, r.Stream(), r.Epoch, MaxEpoch, ErrInvalid)
	case r.Position == 0 || r.Position > MaxPosition:
		return fmt.Errorf("record %d of %s: position %d is not between 1 and %d: %w", r.Seq, r.Stream(), r.Position, int64(MaxPosition), ErrInvalid)
	}
	return nil
}

// CheckSnapshot reports a snapshot that no driver sends.
func CheckSnapshot(s *entity.Snapshot) error {
	if err := checkStream(s.Kind, s.ID); err != nil {
		return err
	}
	if len(s.State) > MaxRecordBytes {
		return fmt.Errorf("snapshot of %s: state of %d bytes, the limit is %d: %w", s.Stream(), len(s.State), MaxRecordBytes, entity.ErrTooLarge)
	}
	if s.Seq > math.MaxInt64 {
		return fmt.Errorf("snapshot of %s: seq %d is above %d: %w", s.Stream(), s.Seq, int64(math.MaxInt64), ErrInvalid)
	}
	return nil
}

// CheckRow reports a row that no driver sends.
func CheckRow(r *Row) error {
	if err := checkStream(r.Kind, r.ID); err != nil {
		return err
	}
	if len(r.Body) > MaxRecordBytes {
		return fmt.Errorf("row %s/%s: body of %d bytes, the limit is %d: %w", r.Kind, r.ID, len(r.Body), MaxRecordBytes, entity.ErrTooLarge)
	}
	if len(r.Owner)+len(r.State) > MaxStreamBytes {
		return fmt.Errorf("row %s/%s: owner and state of %d bytes, the limit is %d: %w", r.Kind, r.ID, len(r.Owner)+len(r.State), MaxStreamBytes, entity.ErrTooLarge)
	}
	if !utf8.ValidString(r.Owner) || !utf8.ValidString(r.State) {
		return fmt.Errorf("row %s/%s: owner or state is not UTF-8: %w", r.Kind, r.ID, ErrInvalid)
	}
	if r.Version > math.MaxInt64 {
		return fmt.Errorf("row %s/%s: version %d is above %d: %w", r.Kind, r.ID, r.Version, int64(math.MaxInt64), ErrInvalid)
	}
	return nil
}

// CheckWatermark reports a watermark that no driver sends.
func CheckWatermark(reader string, epoch entity.Epoch, position uint64) error {
	switch {
	case reader == "" || len(reader) > MaxStreamBytes || strings.Contains(reader, "/") || !utf8.ValidString(reader):
		return fmt.Errorf("watermark: a reader's name has 1 to %d bytes of UTF-8 without a slash: %w", MaxStreamBytes, ErrInvalid)
	case epoch > MaxEpoch || position > MaxPosition:
		return fmt.Errorf("watermark of %s: epoch %d, position %d are out of range: %w", reader, epoch, position, ErrInvalid)
	}
	return nil
}

// CheckSetting reports a setting that no driver sends.
func CheckSetting(name string, value []byte) error {
	if name == "" || len(name) > MaxStreamBytes || !utf8.ValidString(name) {
		return fmt.Errorf("setting: a name has 1 to %d bytes of UTF-8: %w", MaxStreamBytes, ErrInvalid)
	}
	if len(value) > MaxRecordBytes {
		return fmt.Errorf("setting %s: value of %d bytes, the limit is %d: %w", name, len(value), MaxRecordBytes, entity.ErrTooLarge)
	}
	return nil
}

// checkStream reports a kind and id that do not make a stream's name. The kind
// has no slash, so that the name can be taken apart again.
func checkStream(kind, id string) error {
	switch {
	case len(kind)+1+len(id) > MaxStreamBytes:
		return fmt.Errorf("stream name of %d bytes, the limit is %d: %w", len(kind)+1+len(id), MaxStreamBytes, entity.ErrTooLarge)
	case kind == "" || strings.Contains(kind, "/"):
		return fmt.Errorf("kind %q is empty or has a slash: %w", kind, ErrInvalid)
	case id == "":
		return fmt.Errorf("a %s without an id: %w", kind, ErrInvalid)
	case !utf8.ValidString(kind) || !utf8.ValidString(id):
		return fmt.Errorf("stream %q is not UTF-8: %w", kind+"/"+id, ErrInvalid)
	}
	return nil
}

// SplitStream takes the name of a stream apart.
func SplitStream(stream string) (kind, id string) {
	kind, id, _ = strings.Cut(stream, "/")
	return kind, id
}
