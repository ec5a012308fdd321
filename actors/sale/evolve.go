package sale

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	"stampede/proto/gen/salepb"
)

// Evolve applies one event. It panics on one that cannot have been decided in
// this state: the journal is then corrupt.
func Evolve(s *State, e *salepb.Event) {
	s.version++
	if v, ok := e.GetEvent().(*salepb.Event_Joined); ok {
		s.joined(v.Joined, e.GetAtMs())
		return
	}
	if _, drafted := e.GetEvent().(*salepb.Event_Drafted); !drafted {
		s.require(s.sale != nil, "something happened before it was drafted")
	}
	switch v := e.GetEvent().(type) {
	case *salepb.Event_Drafted:
		s.drafted(v.Drafted, e.GetAtMs())
	case *salepb.Event_Scheduled:
		s.require(s.sale.Status == salepb.Status_STATUS_DRAFT, "scheduled twice")
		s.sale.Status, s.configured = salepb.Status_STATUS_SCHEDULED, s.config
	case *salepb.Event_Rejected:
		s.require(s.sale.Status == salepb.Status_STATUS_DRAFT && v.Rejected.GetRefusal() != nil, "rejected after it was scheduled, or without a reason")
		s.sale.Status, s.rejection = salepb.Status_STATUS_REJECTED, v.Rejected.GetRefusal()
		s.config = s.version
	case *salepb.Event_Opened:
		s.openedNow(v.Opened, e.GetAtMs())
	case *salepb.Event_Paused:
		s.pause(true, e.GetAtMs())
	case *salepb.Event_Resumed:
		s.pause(false, e.GetAtMs())
	case *salepb.Event_Rescheduled:
		s.rescheduled(v.Rescheduled)
	case *salepb.Event_AdmissionChanged:
		s.sale.Schedule.AdmitPerSecond, s.sale.Schedule.PerSecond = s.rated(v.AdmissionChanged.GetAdmitPerSecond(), e.GetAtMs())
	case *salepb.Event_Ended:
		s.ended(e.GetAtMs())
	case *salepb.Event_SkusConfigured:
		s.require(v.SkusConfigured.GetConfigVersion() == s.config && s.configured < s.config, "SKUs configured out of turn")
		s.configured = s.config
		return // nothing that others see
	case *salepb.Event_StockReported:
		s.reported(v.StockReported)
	default:
		s.require(false, "unknown event")
	}
	s.sale.Version = s.version
}

func (s *State) drafted(e *salepb.Drafted, atMs int64) {
	s.require(s.sale == nil && len(e.GetItems()) > 0, "drafted twice, or nothing")
	s.key, s.inputHash, s.secret = e.GetIdempotencyKey(), e.GetInputHash(), e.GetShuffleSecret()
	s.sale = &salepb.Sale{
		Id: s.id, Name: e.GetName(), Status: salepb.Status_STATUS_DRAFT, StartsAtMs: e.GetStartsAtMs(), EndsAtMs: e.GetEndsAtMs(),
		PerCustomerLimit: e.GetPerCustomerLimit(), Admission: e.GetAdmission(), CreatedAtMs: atMs,
		Schedule: &salepb.Schedule{
			Admission: e.GetAdmission(), FromMs: e.GetStartsAtMs(), PerSecond: e.GetAdmitPerSecond(), AdmitPerSecond: e.GetAdmitPerSecond(),
			StartsAtMs: e.GetStartsAtMs(), EndsAtMs: e.GetEndsAtMs(),
		},
	}
	if len(s.secret) > 0 {
		s.sale.Schedule.ShuffleCommitment = Commitment(s.secret)
	}
	for _, item := range e.GetItems() {
		s.sale.Items = append(s.sale.Items, &salepb.Item{Sku: item.GetSku(), SalePrice: proto.CloneOf(item.GetSalePrice()), Allocation: item.GetAllocation()})
	}
	s.config = s.version
}

// openedNow lets the schedule run from the moment that it was to, not from the
// one at which somebody noticed.
func (s *State) openedNow(e *salepb.Opened, atMs int64) {
	c := s.sale.Schedule
	s.require(s.sale.Status == salepb.Status_STATUS_SCHEDULED && atMs >= s.sale.StartsAtMs, "opened at the wrong moment")
	s.require(e.GetJoinedEarly() == c.Joined && string(e.GetShuffleSecret()) == string(s.secret), "opened with another waiting room")
	c.Opened, c.JoinedEarly, c.ShuffleSecret = true, c.Joined, e.GetShuffleSecret()
	s.show()
}

func (s *State) pause(paused bool, atMs int64) {
	s.require(s.opened() && s.paused != paused, "paused or resumed at the wrong moment")
	s.paused, s.config = paused, s.version
	rate := s.sale.Schedule.AdmitPerSecond
	if paused {
		rate = 0
	}
	admitAt(s.sale.Schedule, atMs, rate)
	s.show()
}

// rated begins a line with another rate; a sale that is paused keeps the rate
// for when it goes on.
func (s *State) rated(perSecond, atMs int64) (rate, now int64) {
	c := s.sale.Schedule
	s.require(c.Admission != salepb.Admission_ADMISSION_OPEN_TO_ALL && !c.Ended, "admission changed where there is none")
	now = perSecond
	if s.paused {
		now = 0
	}
	if c.Opened {
		admitAt(c, atMs, now)
	}
	return perSecond, now
}

func (s *State) rescheduled(e *salepb.Rescheduled) {
	s.require(s.sale.Status == salepb.Status_STATUS_SCHEDULED || s.opened() && e.GetStartsAtMs() == s.sale.StartsAtMs, "rescheduled at the wrong moment")
	s.sale.StartsAtMs, s.sale.EndsAtMs = e.GetStartsAtMs(), e.GetEndsAtMs()
	c := s.sale.Schedule
	c.StartsAtMs, c.EndsAtMs = e.GetStartsAtMs(), e.GetEndsAtMs()
	if !c.Opened {
		c.FromMs = e.GetStartsAtMs()
	}
	s.config = s.version
}

func (s *State) ended(atMs int64) {
	s.require(s.opened() || s.sale.Status == salepb.Status_STATUS_SCHEDULED, "ended at the wrong moment")
	c := s.sale.Schedule
	if c.Opened {
		admitAt(c, min(atMs, s.sale.EndsAtMs), 0)
	}
	c.PerSecond, c.Ended = 0, true
	s.paused, s.config = false, s.version
	s.sale.Status = salepb.Status_STATUS_ENDED
}

func (s *State) joined(e *salepb.Joined, atMs int64) {
	s.require(s.public() && s.sale.Admission != salepb.Admission_ADMISSION_OPEN_TO_ALL, "joined what has no waiting room")
	c := s.sale.Schedule
	s.require(e.GetNumber() == c.Joined+1, "a number out of order")
	joinAt(c, atMs)
	if s.folding {
		return
	}
	if s.waiting == nil {
		s.waiting = map[place]int32{}
	}
	p := placeOf(e.GetCustomerId())
	s.require(s.waiting[p] == 0, "joined twice")
	s.waiting[p] = int32(e.GetNumber()) //nolint:gosec // at most MaxWaiting
}

func (s *State) reported(e *salepb.StockReported) {
	before := soldOut(s.sale)
	for _, item := range s.sale.Items {
		if item.Sku == e.GetSku() {
			s.require(e.GetSkuVersion() > item.ReportedVersion && e.GetSoldOut() != item.SoldOut, "a report that says nothing new")
			item.SoldOut, item.ReportedVersion = e.GetSoldOut(), e.GetSkuVersion()
		}
	}
	after := soldOut(s.sale)
	s.require(after == e.GetSaleSoldOut() && (after != before) == e.GetChanged(), "a report with another outcome")
	s.show()
}

// show makes the status what the facts say, for a sale that is under way.
func (s *State) show() {
	if !s.sale.Schedule.Opened || s.sale.Status == salepb.Status_STATUS_ENDED {
		return
	}
	switch {
	case s.paused:
		s.sale.Status = salepb.Status_STATUS_PAUSED
	case soldOut(s.sale):
		s.sale.Status = salepb.Status_STATUS_SOLD_OUT
	default:
		s.sale.Status = salepb.Status_STATUS_OPEN
	}
}

// require panics when the journal cannot be right.
func (s *State) require(ok bool, what string) {
	if !ok {
		panic(fmt.Sprintf("sale %s version %d is corrupt: %s", s.id, s.version, what))
	}
}
