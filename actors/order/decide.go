package order

import (
	"slices"
	"strconv"
	"time"

	"google.golang.org/protobuf/proto"

	"stampede/proto/gen/commonpb"
	"stampede/proto/gen/orderpb"
)

// Decide makes a decision of a command, and of what was heard to the asks that
// it made before. It does not change the state. Whatever the command is, an
// order whose deadline has come expires first; so there can be events with a
// refusal. Replies are the caller's: they share nothing with the state.
func Decide(s *State, cmd proto.Message, now time.Time, heard map[string]proto.Message) Decision {
	d := &draft{s: s, nowMs: now.UnixMilli()}
	if s.open() && s.expiresAtMs <= d.nowMs {
		d.add(&orderpb.Event{Event: &orderpb.Event_Expired{Expired: &orderpb.Expired{}}})
	}
	if cmd == nil || !cmd.ProtoReflect().IsValid() {
		return d.refuse(unknownCommand())
	}
	switch c := cmd.(type) {
	case *orderpb.Place:
		return d.place(c, heard)
	case *orderpb.Pay:
		return d.pay(c, heard)
	case *orderpb.Cancel:
		return d.cancel(c)
	case *orderpb.Fulfil:
		return d.fulfil(c)
	case *orderpb.Refund:
		return d.refund(c)
	case *orderpb.PaymentNotice:
		return d.noticed(c, heard)
	case *orderpb.Get:
		return d.get(c)
	case *commonpb.Tick:
		return d.wait()
	case *commonpb.Continue:
		return d.proceed(heard)
	default:
		return d.refuse(unknownCommand())
	}
}

func unknownCommand() *commonpb.Refusal {
	return refuse(commonpb.Reason_REASON_INVALID, "an order does not know this command")
}

// draft is one command being decided: s is the order as it will be after the
// events so far. It is a copy as soon as there is one.
type draft struct {
	s      *State
	nowMs  int64
	events []*orderpb.Event
}

func (d *draft) add(e *orderpb.Event) {
	if d.events == nil {
		d.s = d.s.clone()
	}
	e.AtMs = d.nowMs
	Evolve(d.s, e)
	d.events = append(d.events, e)
}

func (s *State) clone() *State {
	c := *s
	c.lines, c.keys = slices.Clone(s.lines), slices.Clone(s.keys)
	c.toVoid, c.history, c.moves = slices.Clone(s.toVoid), slices.Clone(s.history), slices.Clone(s.moves)
	return &c
}

// wait is for commands that nobody answers, and for those that are decided
// again when the state has changed.
func (d *draft) wait() Decision { return Decision{Events: d.events} }

// refuse answers with a refusal alone.
func (d *draft) refuse(r *commonpb.Refusal) Decision {
	return Decision{Events: d.events, Reply: &orderpb.OrderReply{Refusal: r}}
}

// answer is the order as it stands, with or without a refusal.
func (d *draft) answer(r *commonpb.Refusal) Decision {
	return Decision{Events: d.events, Reply: &orderpb.OrderReply{Refusal: proto.CloneOf(r), Order: d.s.shown()}}
}

func (d *draft) get(c *orderpb.Get) Decision {
	if !d.s.visibleTo(c.GetActor()) {
		return d.refuse(notFound())
	}
	return d.answer(nil)
}

// cancel gives the units back, and is answered when the SKUs have them.
func (d *draft) cancel(c *orderpb.Cancel) Decision {
	s := d.s
	switch {
	case !s.visibleTo(c.GetActor()):
		return d.refuse(notFound())
	case runes(c.GetReason()) > maxReasonRunes:
		return d.refuse(refuse(commonpb.Reason_REASON_INVALID, "reason has at most "+strconv.Itoa(maxReasonRunes)+" characters", "reason"))
	case s.status == orderpb.Status_STATUS_CANCELLED && s.holding():
		return d.wait()
	case s.status == orderpb.Status_STATUS_CANCELLED && !s.sold():
		return d.answer(nil)
	case s.status == orderpb.Status_STATUS_PAYING && !s.open():
		return d.answer(inProgress("a payment is under way: cancel when it has been answered"))
	case s.sold():
		return d.answer(refuse(commonpb.Reason_REASON_ILLEGAL_TRANSITION, "the order is paid: it is not cancelled, the shop refunds it"))
	case !s.open():
		return d.answer(illegal(s.status, orderpb.Status_STATUS_CANCELLED))
	}
	d.add(&orderpb.Event{Event: &orderpb.Event_Cancelled{Cancelled: &orderpb.Cancelled{Reason: c.GetReason(), ActorId: c.GetActor().GetUserId()}}})
	return d.wait()
}
