package sale

import (
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"stampede/proto/gen/commonpb"
	"stampede/proto/gen/salepb"
)

// Decide makes a decision of a command. It does not change the state. Whatever
// the command is, a sale whose moment has come opens or ends first; so there
// can be events with a refusal.
func Decide(s *State, cmd proto.Message, now time.Time, heard map[string]proto.Message) Decision {
	d := &draft{s: s, nowMs: now.UnixMilli()}
	d.onTime()
	if cmd == nil || !cmd.ProtoReflect().IsValid() {
		return d.refuse(refusal(commonpb.Reason_REASON_INVALID, "a sale does not know this command"))
	}
	switch c := cmd.(type) {
	case *salepb.Join:
		return d.join(c)
	case *salepb.GetSchedule:
		return d.schedule()
	case *salepb.Get:
		if !d.s.public() {
			return d.refuse(notFound())
		}
		return d.answer(nil)
	case *salepb.Report:
		return d.report(c)
	case *salepb.Create:
		return d.create(c)
	case *salepb.Control:
		return d.control(c)
	case *commonpb.Continue:
		return d.configured(heard)
	case *commonpb.Tick:
		return d.wait()
	default:
		return d.refuse(refusal(commonpb.Reason_REASON_INVALID, "a sale does not know this command"))
	}
}

// draft is one command being decided: s is the sale as it will be after the
// events so far. It is a copy as soon as there is one, of all but who waits.
type draft struct {
	s      *State
	nowMs  int64
	events []*salepb.Event
	copied bool
}

func (d *draft) add(e *salepb.Event) {
	if !d.copied {
		c := *d.s
		c.sale, c.folding = proto.CloneOf(c.sale), true
		d.s, d.copied = &c, true
	}
	e.AtMs = d.nowMs
	Evolve(d.s, e)
	d.events = append(d.events, e)
}

func (d *draft) wait() Decision { return Decision{Events: d.events} }

func (d *draft) refuse(r *commonpb.Refusal) Decision {
	return Decision{Events: d.events, Reply: &salepb.SaleReply{Refusal: r}}
}

func (d *draft) answer(r *commonpb.Refusal) Decision {
	return Decision{Events: d.events, Reply: &salepb.SaleReply{Refusal: proto.CloneOf(r), Sale: d.s.Shown(), EventVersion: d.s.version}}
}

// onTime opens and ends the sale by its schedule.
func (d *draft) onTime() {
	if d.s.sale.GetStatus() == salepb.Status_STATUS_SCHEDULED && d.nowMs >= d.s.sale.StartsAtMs {
		opened := &salepb.Opened{JoinedEarly: d.s.sale.Schedule.Joined, ShuffleSecret: d.s.secret}
		d.add(&salepb.Event{Event: &salepb.Event_Opened{Opened: opened}})
	}
	if d.s.opened() && d.nowMs >= d.s.sale.EndsAtMs {
		d.add(&salepb.Event{Event: &salepb.Event_Ended{Ended: &salepb.Ended{}}})
	}
}

// create drafts the sale, and is answered when its SKUs have agreed, or one has not.
func (d *draft) create(c *salepb.Create) Decision {
	if d.s.sale == nil {
		if r := checkCreate(c, d.nowMs); r != nil {
			return d.refuse(r)
		}
		items := make([]*salepb.CreateItem, len(c.GetItems()))
		for i, item := range c.GetItems() {
			items[i] = proto.CloneOf(item)
		}
		drafted := &salepb.Drafted{
			Name: c.GetName(), StartsAtMs: c.GetStartsAtMs(), EndsAtMs: c.GetEndsAtMs(), PerCustomerLimit: c.GetPerCustomerLimit(),
			Admission: c.GetAdmission(), AdmitPerSecond: c.GetAdmitPerSecond(), Items: items,
			IdempotencyKey: c.GetIdempotencyKey(), InputHash: inputHash(c), ActorId: c.GetActor().GetUserId(),
		}
		if c.GetAdmission() == salepb.Admission_ADMISSION_SHUFFLED_AT_OPENING {
			drafted.ShuffleSecret = c.GetShuffleSecret()
		}
		d.add(&salepb.Event{Event: &salepb.Event_Drafted{Drafted: drafted}})
		return d.wait()
	}
	switch {
	case string(d.s.inputHash) != string(inputHash(c)) || d.s.key != c.GetIdempotencyKey():
		return d.refuse(refusal(commonpb.Reason_REASON_IDEMPOTENCY_MISMATCH, "this key was used with another input: another input needs another key", "idempotencyKey"))
	case d.s.sale.Status == salepb.Status_STATUS_DRAFT, d.s.rejection != nil && d.s.configured < d.s.config:
		return d.wait() // of a sale that is not made, until its SKUs are free again
	case d.s.rejection != nil:
		return d.refuse(proto.CloneOf(d.s.rejection))
	}
	return d.answer(nil)
}

// join takes a place in the waiting room; the same one when asked again.
func (d *draft) join(c *salepb.Join) Decision {
	s := d.s
	switch {
	case !s.public():
		return d.refuseJoin(notFound())
	case c.GetCustomerId() == "" || len(c.GetCustomerId()) > maxIDBytes:
		return d.refuseJoin(refusal(commonpb.Reason_REASON_INVALID, "somebody joins", "customerId"))
	case s.sale.Status == salepb.Status_STATUS_ENDED:
		return d.refuseJoin(refusal(commonpb.Reason_REASON_SALE_ENDED, "the sale is over", "saleId"))
	case s.sale.Admission == salepb.Admission_ADMISSION_OPEN_TO_ALL:
		return d.refuseJoin(refusal(commonpb.Reason_REASON_INVALID, "this sale has no waiting room: place the order", "saleId"))
	}
	schedule := proto.CloneOf(s.sale.Schedule)
	number := int64(s.waiting[placeOf(c.GetCustomerId())])
	if number == 0 {
		if number = s.sale.Schedule.Joined + 1; number > MaxWaiting {
			r := refusal(commonpb.Reason_REASON_THROTTLED, "the waiting room is full: at most "+strconv.Itoa(MaxWaiting)+" can join a sale", "saleId")
			r.RetryAfterMs = time.Minute.Milliseconds()
			return d.refuseJoin(r)
		}
		// Not by add, which copies the whole sale: joining is what a sale does most.
		joinAt(schedule, d.nowMs)
		d.events = append(d.events, &salepb.Event{AtMs: d.nowMs, Event: &salepb.Event_Joined{Joined: &salepb.Joined{CustomerId: c.GetCustomerId(), Number: number}}})
	}
	return Decision{Events: d.events, Reply: &salepb.JoinReply{Number: number, Schedule: schedule}}
}

func (d *draft) refuseJoin(r *commonpb.Refusal) Decision {
	return Decision{Events: d.events, Reply: &salepb.JoinReply{Refusal: r}}
}

func (d *draft) schedule() Decision {
	if !d.s.public() {
		return d.refuseJoin(notFound())
	}
	return Decision{Events: d.events, Reply: &salepb.JoinReply{Schedule: proto.CloneOf(d.s.sale.Schedule)}}
}

// report takes in whether a SKU has sold out. An older word than the last is
// nothing new.
func (d *draft) report(c *salepb.Report) Decision {
	done := &salepb.ReportReply{}
	all, known := true, false
	for _, item := range d.s.sale.GetItems() {
		if item.Sku == c.GetSku() {
			known = c.GetSkuVersion() > item.ReportedVersion && c.GetSoldOut() != item.SoldOut
			all = all && c.GetSoldOut()
			continue
		}
		all = all && item.SoldOut
	}
	if !known || d.s.sale.Status == salepb.Status_STATUS_ENDED || d.s.rejection != nil {
		return Decision{Events: d.events, Reply: done}
	}
	before := soldOut(d.s.sale)
	d.add(&salepb.Event{Event: &salepb.Event_StockReported{StockReported: &salepb.StockReported{
		Sku: c.GetSku(), SkuVersion: c.GetSkuVersion(), SoldOut: c.GetSoldOut(), SaleSoldOut: all, Changed: all != before,
	}}})
	return Decision{Events: d.events, Reply: done}
}

func soldOut(s *salepb.Sale) bool {
	for _, item := range s.GetItems() {
		if !item.SoldOut {
			return false
		}
	}
	return true
}

func refusal(reason commonpb.Reason, message string, field ...string) *commonpb.Refusal {
	return &commonpb.Refusal{Reason: reason, Message: message, Field: field}
}

func notFound() *commonpb.Refusal {
	return refusal(commonpb.Reason_REASON_NOT_FOUND, "there is no such sale", "id")
}

func nameOf(s salepb.Status) string { return strings.TrimPrefix(s.String(), "STATUS_") }
