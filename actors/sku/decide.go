package sku

import (
	"time"

	"google.golang.org/protobuf/proto"

	"stampede/proto/gen/commonpb"
	"stampede/proto/gen/skupb"
)

// Decide makes the events and the reply of a command. It does not change the
// state. Whatever the command is, holds whose deadline has come end first; so
// there can be events with a refusal. The reply is nil for Tick and Continue,
// which nobody waits for. A command that is not the SKU's is refused with a
// StockReply.
func Decide(s *State, cmd proto.Message, now time.Time) ([]*skupb.Event, proto.Message) {
	d := draft{s: s, nowMs: now.UnixMilli(), stock: s.stock, version: s.version, sale: s.sale.config, saleTaken: s.sale.taken, saleOver: s.sale.closed()}
	d.closeSale()
	d.expireDue(maxExpiries)
	if cmd == nil || !cmd.ProtoReflect().IsValid() {
		return d.events, unknownCommand()
	}
	reply := d.decide(cmd)
	return d.events, reply
}

func (d *draft) decide(cmd proto.Message) proto.Message {
	switch c := cmd.(type) {
	case *skupb.Reserve:
		return d.reserve(c)
	case *skupb.Confirm:
		return d.confirm(c)
	case *skupb.Release:
		return d.release(c)
	case *skupb.Fulfil:
		return d.fulfil(c)
	case *skupb.Return:
		return d.takeBack(c)
	case *skupb.SettleReturn:
		return d.settleReturn(c)
	case *skupb.GetLevel:
		return d.getLevel()
	case *skupb.Adjust:
		return d.adjust(c)
	case *skupb.SetOnHand:
		return d.setOnHand(c)
	case *skupb.MarkUnavailable:
		return d.markUnavailable(c)
	case *skupb.Configure:
		return d.configure(c)
	case *skupb.Unconfigure:
		return d.unconfigure(c)
	case *skupb.ConfigureSale:
		return d.configureSale(c)
	case *commonpb.Tick, *commonpb.Continue:
		return nil
	default:
		return unknownCommand()
	}
}

func unknownCommand() proto.Message {
	return &skupb.StockReply{Refusal: refuse(commonpb.Reason_REASON_INVALID, "a SKU does not know this command")}
}

// draft is one command being decided: the stock and the version that there
// will be after the events so far.
type draft struct {
	s       *State
	nowMs   int64
	stock   stock
	version int64
	events  []*skupb.Event

	// due walks the holds in the order of their deadlines; nil while none was due.
	due *walk[*allocation]
	// early is a hold that was ended before its turn.
	early *allocation
	// ended counts the holds that the draft has ended.
	ended int

	// The SKU's sale after the events so far: what it says, what was taken in
	// it, whether it is over, and what customers have given back.
	sale      *skupb.ConfigureSale
	saleTaken int64
	saleOver  bool
	givenBack map[string]int64
}

// add appends an event that makes the stock what after says, and remarks on
// available stock running out or coming back.
func (d *draft) add(e *skupb.Event, after stock) {
	before := d.stock.available
	d.append(e, after)
	switch {
	case before > 0 && after.available == 0:
		d.append(&skupb.Event{Event: &skupb.Event_Depleted{Depleted: &skupb.Depleted{}}}, after)
	case before == 0 && after.available > 0:
		d.append(&skupb.Event{Event: &skupb.Event_Replenished{Replenished: &skupb.Replenished{}}}, after)
	}
}

func (d *draft) append(e *skupb.Event, after stock) {
	d.stock = after
	d.version++
	e.AtMs, e.After = d.nowMs, after.message()
	d.events = append(d.events, e)
}

// nextDue is the first hold whose deadline has come and that was not ended yet.
func (d *draft) nextDue() *allocation {
	if d.due == nil {
		if next, ok := d.s.deadlines.first(); !ok || next.expiresAtMs > d.nowMs {
			return nil
		}
		d.due = walkOf(&d.s.deadlines)
	}
	next, ok := d.due.peek()
	if ok && next == d.early {
		d.due.skip()
		next, ok = d.due.peek()
	}
	if !ok || next.expiresAtMs > d.nowMs {
		return nil
	}
	return next
}

// expireDue ends holds that are due, at most so many.
func (d *draft) expireDue(most int) {
	for ; most > 0; most-- {
		next := d.nextDue()
		if next == nil {
			return
		}
		d.due.skip()
		d.expire(next)
	}
}

// expireUntil ends more holds that are due until it is enough. It reports false
// when there are still more of them.
func (d *draft) expireUntil(enough func() bool) bool {
	for n := 0; !enough(); n++ {
		next := d.nextDue()
		if next == nil {
			return true
		}
		if n == maxExpiriesForUnits {
			return false
		}
		d.due.skip()
		d.expire(next)
	}
	return true
}

// allocation is what is held or committed for the order, and whether its
// deadline has come: then the hold has been ended when this returns.
func (d *draft) allocation(orderID string) (a *allocation, expired bool) {
	a = d.s.allocations[orderID]
	if a == nil || a.committed() || a.expiresAtMs > d.nowMs {
		return a, false
	}
	if next := d.nextDue(); next != nil && !endsBefore(a, next) {
		d.expire(a)
		d.early = a
	}
	return a, true
}

func (d *draft) expire(a *allocation) {
	after := d.stock
	after.held -= int64(a.quantity)
	after.available += int64(a.quantity)
	d.ended++
	d.leaveSale(a)
	d.add(&skupb.Event{Event: &skupb.Event_Expired{Expired: &skupb.Expired{OrderId: a.orderID, Quantity: int64(a.quantity)}}}, after)
}

// throttledByExpiry is the refusal for units that are there, but whose holds
// are too many to be ended in one go.
func throttledByExpiry() *commonpb.Refusal {
	r := refuse(commonpb.Reason_REASON_THROTTLED, "more than "+decimal(maxExpiries+maxExpiriesForUnits)+" holds of this SKU are ending at this moment: send the same again")
	r.RetryAfterMs = 100
	return r
}

func (d *draft) level() *skupb.Level { return d.levelWith(d.s.config) }

func (d *draft) levelWith(c config) *skupb.Level {
	return &skupb.Level{
		Sku:       d.s.id,
		Stock:     d.stock.message(),
		Version:   d.version,
		AsOfMs:    d.nowMs,
		ProductId: c.productID,
		Name:      c.name,
		Price:     c.price,
		Active:    c.active,
		Sale:      d.saleLevel(),
	}
}

func (d *draft) getLevel() *skupb.StockReply {
	if d.s.config.productID == "" {
		return &skupb.StockReply{Refusal: d.notConfigured()}
	}
	return &skupb.StockReply{Level: d.level()}
}
