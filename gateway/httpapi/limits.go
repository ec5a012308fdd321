package httpapi

import (
	"errors"
	"fmt"
	"time"
)

// Limits bound what the HTTP side takes. Zero fields take the default; a
// RatePerSecond below 0 turns rate limits off.
type Limits struct {
	BodyBytes int64
	// InFlight is how many requests are worked on at once, Waiting how many
	// more may wait for a place, and WaitFor how long.
	InFlight int
	Waiting  int
	WaitFor  time.Duration
	// Timeout bounds one request from when it has its place.
	Timeout time.Duration
	// RatePerSecond and RateBurst are points of cost per caller: per user, or
	// per address for those who are not signed in.
	RatePerSecond float64
	RateBurst     int
	// RateCallers is how many callers' buckets are kept.
	RateCallers int
	Streams     StreamLimits
}

// DefaultLimits are generous: a shopper's app stays two orders of magnitude below them.
func DefaultLimits() Limits {
	return Limits{
		BodyBytes: 256 << 10, InFlight: 512, Waiting: 2_048, WaitFor: 250 * time.Millisecond, Timeout: 10 * time.Second,
		RatePerSecond: 2_000, RateBurst: 20_000, RateCallers: 100_000,
	}
}

func (l Limits) orDefault() Limits {
	d := DefaultLimits()
	l.BodyBytes = positive(l.BodyBytes, d.BodyBytes)
	l.InFlight = positive(l.InFlight, d.InFlight)
	l.Waiting = positive(l.Waiting, d.Waiting)
	l.WaitFor = positive(l.WaitFor, d.WaitFor)
	l.Timeout = positive(l.Timeout, d.Timeout)
	if l.RatePerSecond == 0 {
		l.RatePerSecond = d.RatePerSecond
	}
	l.RateBurst = positive(l.RateBurst, d.RateBurst)
	l.Streams = l.Streams.orDefault()
	l.RateCallers = positive(l.RateCallers, d.RateCallers)
	return l
}

func positive[N ~int | ~int64](have, byDefault N) N {
	if have <= 0 {
		return byDefault
	}
	return have
}

// validate lists what cannot work. dearest is the most that one operation may cost.
func (l Limits) validate(dearest int) error {
	var errs []error
	if l.RatePerSecond > 0 && l.RateBurst < dearest {
		errs = append(errs, fmt.Errorf("rate burst %d is below the dearest operation, %d: it could never run", l.RateBurst, dearest))
	}
	return errors.Join(errs...)
}
