package entity

import "time"

// Limits bounds one actor. Every bound that a caller can run into is named in
// the error it gets.
type Limits struct {
	// MaxMailbox is how many requests may wait in an actor's mailbox.
	MaxMailbox int
	// MaxUnanswered is how many requests an actor may have decided or parked
	// and not answered yet.
	MaxUnanswered int
	// MaxWatchers is how many may watch an actor: one a node is usual, however
	// many that node tells.
	MaxWatchers int
	// WatchFor bounds how long a watcher waits for a change; then it is answered
	// with what there is.
	WatchFor time.Duration
	// MaxRecordBytes is the most one record may hold. No actor takes a command
	// while it has that much waiting to be written.
	MaxRecordBytes int
	// AskFor is how long a command may wait for what it asked of others.
	AskFor time.Duration
	// SnapshotEveryRecords and SnapshotEveryBytes: a snapshot is due when both
	// have been written since the last one, and when as many bytes as the last
	// snapshot had: so snapshots at most double what is written.
	SnapshotEveryRecords int
	SnapshotEveryBytes   int
	// SnapshotOnPassivationRecords: on passivation a snapshot is due after this many.
	SnapshotOnPassivationRecords int
	// KeepBefore: an actor that wakes within this time is not passivated.
	KeepBefore time.Duration
	// RecoverFor bounds reading the journal at activation.
	RecoverFor time.Duration
	// StopFor bounds how long a stopping actor waits for its write in flight.
	StopFor time.Duration
}

// DefaultLimits are fit for a node of any size: they bound one actor, not all.
func DefaultLimits() Limits {
	return Limits{
		MaxMailbox:                   8192,
		MaxUnanswered:                8192,
		MaxWatchers:                  1024,
		WatchFor:                     time.Minute,
		MaxRecordBytes:               4 << 20,
		AskFor:                       10 * time.Second,
		SnapshotEveryRecords:         256,
		SnapshotEveryBytes:           64 << 10,
		SnapshotOnPassivationRecords: 32,
		KeepBefore:                   2 * time.Minute,
		RecoverFor:                   30 * time.Second,
		StopFor:                      5 * time.Second,
	}
}
