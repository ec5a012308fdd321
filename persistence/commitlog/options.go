package commitlog

import (
	"errors"
	"fmt"
	"log/slog"
	"math/bits"
	"math/rand/v2"
	"time"
)

// Options are the bounds and timings of a Log. A zero field takes the default
// named beside it; a negative one is refused by Open.
type Options struct {
	// MaxInFlight is how many batches are being appended at once (default 2):
	// 1 or 2 for a store with one writer such as SQLite, where the second is
	// ready when the first is done, about 4 for MongoDB. Resolving unknown
	// outcomes uses one more.
	MaxInFlight int
	// MaxBatchRecords and MaxBatchBytes bound one Append (default 1024 records,
	// 4 MiB). A record larger than MaxBatchBytes travels alone.
	MaxBatchRecords int
	MaxBatchBytes   int
	// MaxPendingRecords and MaxPendingBytes bound what was accepted and is not
	// settled: queued, in flight and unresolved (default 65,536 records,
	// 64 MiB). A record larger than MaxPendingBytes is accepted when nothing
	// else is pending.
	MaxPendingRecords int
	MaxPendingBytes   int
	// MaxUnresolved is the number of unknown outcomes from which on nothing new
	// is sent (default 4096): the store is evidently in trouble, and a quick
	// refusal beats another timeout. Batches in flight when it is reached can
	// exceed it by MaxInFlight*MaxBatchRecords.
	MaxUnresolved int
	// MaxUnsettled bounds how far positions run ahead of Settled while one of
	// them is slow or unresolved (default 1,048,576; rounded up to a power of
	// two, at least 64).
	MaxUnsettled int
	// MaxRetainedRecords and MaxRetainedBytes bound what is kept in memory for
	// followers, shared by all of them (default 65,536 records, rounded up to a
	// power of two, 32 MiB). A follower further behind reads the journal.
	MaxRetainedRecords int
	MaxRetainedBytes   int
	// FollowRecords and FollowBytes bound what one Next returns (default 1024
	// records, 4 MiB; at least one record).
	FollowRecords int
	FollowBytes   int
	// AppendTimeout is what one Append gets (default 5 s). After it the outcome
	// is unknown.
	AppendTimeout time.Duration
	// ResolveMin and ResolveMax bound the pause before an unknown outcome is
	// tried again; it doubles from one to the other while nothing can be
	// resolved (default 10 ms, 1 s).
	ResolveMin time.Duration
	ResolveMax time.Duration
	// Jitter spreads such a pause (default: evenly over its second half).
	Jitter func(time.Duration) time.Duration
	// Logger hears when outcomes become unknown and when all are resolved
	// (default: nobody).
	Logger *slog.Logger
}

func (o *Options) setDefaults() {
	for _, d := range []struct {
		field *int
		value int
	}{
		{&o.MaxInFlight, 2},
		{&o.MaxBatchRecords, 1024},
		{&o.MaxBatchBytes, 4 << 20},
		{&o.MaxPendingRecords, 65_536},
		{&o.MaxPendingBytes, 64 << 20},
		{&o.MaxUnresolved, 4096},
		{&o.MaxUnsettled, 1 << 20},
		{&o.MaxRetainedRecords, 65_536},
		{&o.MaxRetainedBytes, 32 << 20},
		{&o.FollowRecords, 4096},
		{&o.FollowBytes, 4 << 20},
	} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	if o.AppendTimeout == 0 {
		o.AppendTimeout = 5 * time.Second
	}
	if o.ResolveMin == 0 {
		o.ResolveMin = 10 * time.Millisecond
	}
	if o.ResolveMax == 0 {
		o.ResolveMax = max(time.Second, o.ResolveMin)
	}
	if o.Jitter == nil {
		o.Jitter = func(d time.Duration) time.Duration { return d/2 + rand.N(d/2+1) } //nolint:gosec // spreading retries needs no secrecy
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
}

// validate lists every fault of options that have their defaults.
func (o *Options) validate() error {
	var faults []error
	for _, f := range []struct {
		name  string
		value int
	}{
		{"MaxInFlight", o.MaxInFlight},
		{"MaxBatchRecords", o.MaxBatchRecords},
		{"MaxBatchBytes", o.MaxBatchBytes},
		{"MaxPendingRecords", o.MaxPendingRecords},
		{"MaxPendingBytes", o.MaxPendingBytes},
		{"MaxUnresolved", o.MaxUnresolved},
		{"MaxUnsettled", o.MaxUnsettled},
		{"MaxRetainedRecords", o.MaxRetainedRecords},
		{"MaxRetainedBytes", o.MaxRetainedBytes},
		{"FollowRecords", o.FollowRecords},
		{"FollowBytes", o.FollowBytes},
		{"AppendTimeout", int(o.AppendTimeout)},
		{"ResolveMin", int(o.ResolveMin)},
		{"ResolveMax", int(o.ResolveMax)},
	} {
		if f.value < 0 {
			faults = append(faults, fmt.Errorf("%s is negative", f.name))
		}
	}
	if o.ResolveMax < o.ResolveMin {
		faults = append(faults, errors.New("ResolveMax is less than ResolveMin"))
	}
	if o.MaxUnsettled < o.MaxPendingRecords {
		faults = append(faults, errors.New("MaxUnsettled is less than MaxPendingRecords"))
	}
	return errors.Join(faults...)
}

// ceilPowerOfTwo is the smallest power of two that is at least n.
func ceilPowerOfTwo(n int) int {
	if n <= 1 {
		return 1
	}
	return 1 << bits.Len(uint(n-1)) //nolint:gosec // n is positive
}
