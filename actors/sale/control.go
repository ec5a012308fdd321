package sale

import (
	"strconv"

	"stampede/proto/gen/commonpb"
	"stampede/proto/gen/salepb"
)

// control changes a sale that is under way or to come. It is answered when
// every SKU sells by the change. What is so already is answered at once,
// whatever the version: the same command again has nothing left to do.
func (d *draft) control(c *salepb.Control) Decision {
	if !d.s.public() {
		return d.refuse(notFound())
	}
	if r := checkControl(c); r != nil {
		return d.refuse(r)
	}
	changes, r := d.changes(c)
	switch {
	case r != nil:
		return d.answer(r)
	case len(changes) == 0 && d.s.configured < d.s.config:
		return d.wait()
	case len(changes) == 0:
		return d.answer(nil)
	case c.GetIfVersion() != 0 && c.GetIfVersion() != d.s.sale.Version:
		r := refusal(commonpb.Reason_REASON_VERSION_CONFLICT, "the sale is at version "+strconv.FormatInt(d.s.sale.Version, 10)+": read it again and decide on that", "ifVersion")
		r.CurrentVersion = d.s.sale.Version
		return d.answer(r)
	case d.s.configured < d.s.config:
		// One change after the other: the SKUs are being told of the last one.
		return d.wait()
	}
	for _, e := range changes {
		d.add(e)
	}
	d.onTime()
	if d.s.configured < d.s.config {
		return d.wait()
	}
	return d.answer(nil)
}

// changes are the events that make the sale what the command says, or why it
// cannot be.
func (d *draft) changes(c *salepb.Control) ([]*salepb.Event, *commonpb.Refusal) {
	s, by := d.s.sale, c.GetActor().GetUserId()
	if s.Status == salepb.Status_STATUS_ENDED {
		if c.GetEnd() {
			return nil, nil
		}
		return nil, refusal(commonpb.Reason_REASON_ILLEGAL_TRANSITION, "the sale has ended and stays so: make another one")
	}
	if c.GetEnd() {
		return []*salepb.Event{{Event: &salepb.Event_Ended{Ended: &salepb.Ended{ActorId: by}}}}, nil
	}
	var out []*salepb.Event
	if e, r := d.rescheduled(c, by); r != nil {
		return nil, r
	} else if e != nil {
		out = append(out, e)
	}
	if c.AdmitPerSecond != nil {
		switch {
		case s.Admission == salepb.Admission_ADMISSION_OPEN_TO_ALL:
			return nil, refusal(commonpb.Reason_REASON_INVALID, "this sale has no waiting room", "admitPerSecond")
		case c.GetAdmitPerSecond() != s.Schedule.AdmitPerSecond:
			out = append(out, &salepb.Event{Event: &salepb.Event_AdmissionChanged{AdmissionChanged: &salepb.AdmissionChanged{AdmitPerSecond: c.GetAdmitPerSecond(), ActorId: by}}})
		}
	}
	if c.Pause != nil && c.GetPause() != d.s.paused {
		switch {
		case s.Status == salepb.Status_STATUS_SCHEDULED:
			return nil, refusal(commonpb.Reason_REASON_ILLEGAL_TRANSITION, "SCHEDULED sales do not become PAUSED: move startsAt, or end the sale", "pause")
		case c.GetPause():
			out = append(out, &salepb.Event{Event: &salepb.Event_Paused{Paused: &salepb.Paused{ActorId: by}}})
		default:
			out = append(out, &salepb.Event{Event: &salepb.Event_Resumed{Resumed: &salepb.Resumed{ActorId: by}}})
		}
	}
	return out, nil
}

// rescheduled is the event that moves the sale's window; nil when it stays.
func (d *draft) rescheduled(c *salepb.Control, by string) (*salepb.Event, *commonpb.Refusal) {
	s := d.s.sale
	starts, ends := s.StartsAtMs, s.EndsAtMs
	if c.StartsAtMs != nil {
		starts = c.GetStartsAtMs()
	}
	if c.EndsAtMs != nil {
		ends = c.GetEndsAtMs()
	}
	switch {
	case starts == s.StartsAtMs && ends == s.EndsAtMs:
		return nil, nil
	case starts != s.StartsAtMs && s.Status != salepb.Status_STATUS_SCHEDULED:
		return nil, refusal(commonpb.Reason_REASON_ILLEGAL_TRANSITION, nameOf(s.Status)+" sales have begun: only SCHEDULED ones move their startsAt", "startsAt")
	}
	if r := checkWindow(starts, ends, d.nowMs); r != nil {
		return nil, r
	}
	return &salepb.Event{Event: &salepb.Event_Rescheduled{Rescheduled: &salepb.Rescheduled{StartsAtMs: starts, EndsAtMs: ends, ActorId: by}}}, nil
}
