package faultstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"stampede/actors/entity"
)

// delivery is what is to become of one record of an Append.
type delivery struct {
	rec  *entity.Record
	call string
	dice dice
	// fate is the record's own fault, or that of its batch.
	fate Fault
	// late is when a late or duplicate write lands.
	late time.Duration
	err  error
}

// Append implements persistence.Journal. Its stages: the request is on its
// way, the records are written, the answer is on its way. If the call ends in
// the first, each record was lost or lands late; if in the last, it is there.
func (s *Store) Append(ctx context.Context, records []*entity.Record) []error {
	if len(records) == 0 {
		return nil
	}
	deliveries := make([]delivery, len(records))
	for i, rec := range records {
		deliveries[i] = s.plan(rec)
	}
	call := fmt.Sprintf("append of %d with %s", len(records), name(records[0]))
	d, faults := s.decide(call)
	fault := d.pick(faults.batch())
	there, back := d.upTo(faults.AppendTime/2), d.upTo(faults.AppendTime/2)
	slow, cut, hangs := d.upTo(faults.SlowTime), d.IntN(len(records)+1), d.IntN(2)
	switch s.note(fault, call) {
	case SlowAppend:
		there += slow
	case HangAppend:
		if hangs == 0 {
			there = forever
		} else {
			back = forever
		}
	case RefuseBatch, TearBatch:
		for i := range deliveries {
			deliveries[i].befall(fault, i < cut)
		}
	default: // the batch fares well
	}
	if err := s.ended(ctx); err != nil {
		return fill(records, err)
	}
	arrived := s.wait(ctx, there)
	for i := range deliveries {
		s.deliver(&deliveries[i], arrived)
	}
	answered := arrived && s.wait(ctx, back)
	errs := make([]error, len(records))
	for i := range deliveries {
		errs[i] = deliveries[i].err
		if !answered {
			errs[i] = fmt.Errorf("%s: %w: %w", deliveries[i].call, entity.ErrUnknownOutcome, cause(ctx))
		}
	}
	return errs
}

// plan decides what becomes of a record if its batch fares well.
func (s *Store) plan(rec *entity.Record) delivery {
	// The caller owns rec only until Append returns: late writes need their own.
	copied := *rec
	call := name(rec)
	d, faults := s.decide(call)
	return delivery{rec: &copied, call: call, dice: d, fate: d.pick(faults.record()), late: d.upTo(faults.LateTime)}
}

// befall replaces the record's own fate by that of its batch. Of a torn batch
// either the first records are written or any.
func (d *delivery) befall(fault Fault, first bool) {
	written := first
	if d.dice.IntN(2) == 0 {
		written = d.dice.IntN(2) == 0
	}
	switch {
	case fault == RefuseBatch:
		d.fate = RefuseRecord
	case written:
		d.fate = LoseAnswer
	default:
		d.fate = LoseWrite
	}
}

// deliver does what is planned. A request that has not arrived when its caller
// gives up is lost or lands late.
func (s *Store) deliver(d *delivery, arrived bool) {
	if !arrived && d.fate != RefuseRecord {
		d.fate = LoseWrite
		if d.dice.IntN(2) == 0 {
			d.fate = LateWrite
		}
	}
	switch s.note(d.fate, d.call) {
	case RefuseRecord:
		d.err = injected(entity.ErrUnavailable, d.fate, d.call)
	case LoseWrite:
		d.err = injected(entity.ErrUnknownOutcome, d.fate, d.call)
	case LateWrite:
		s.later(d.late, d.rec)
		d.err = injected(entity.ErrUnknownOutcome, d.fate, d.call)
	case LoseAnswer:
		// Even what the database would have refused: nobody hears of it.
		_ = s.land(d.rec)
		d.err = injected(entity.ErrUnknownOutcome, d.fate, d.call)
	case DuplicateWrite:
		d.err = s.land(d.rec)
		s.later(d.late, d.rec)
	default:
		d.err = s.land(d.rec)
	}
}

var errKilled = errors.New("process was killed")

// cause is why a call has ended early.
func cause(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return errKilled
}

func fill(records []*entity.Record, err error) []error {
	errs := make([]error, len(records))
	for i := range errs {
		errs[i] = err
	}
	return errs
}
