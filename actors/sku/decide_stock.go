package sku

import (
	"crypto/sha256"
	"encoding/binary"
	"time"
	"unicode/utf8"

	"stampede/proto/gen/commonpb"
	"stampede/proto/gen/skupb"
)

// adjust moves units between onHand and the outside world. A negative delta
// takes available units only.
func (d *draft) adjust(c *skupb.Adjust) *skupb.StockReply {
	hash := inputHash("adjust", c.GetActor().GetUserId(), c.GetReason(), c.GetDelta(), c.GetIfVersion(), 0)
	if reply := d.answered(c.GetIdempotencyKey(), hash); reply != nil {
		return reply
	}
	r := d.refuseChange(c.GetIdempotencyKey(), c.GetReason(), c.GetIfVersion())
	switch {
	case r != nil:
	case c.GetDelta() == 0 || c.GetDelta() > MaxOnHand || c.GetDelta() < -MaxOnHand:
		r = refuse(commonpb.Reason_REASON_INVALID, "delta is between -"+decimal(MaxOnHand)+" and "+decimal(MaxOnHand)+", and not 0", "delta")
	case c.GetDelta() > 0 && d.stock.onHand()+c.GetDelta() > MaxOnHand:
		r = refuse(commonpb.Reason_REASON_INVALID, "a SKU has at most "+decimal(MaxOnHand)+" units on hand: "+decimal(max(0, MaxOnHand-d.stock.onHand()))+" more", "delta")
	case c.GetDelta() < 0:
		r = d.refuseUnits(-c.GetDelta(), anyUnits, "delta")
	}
	if r != nil {
		return &skupb.StockReply{Refusal: r}
	}
	after := d.stock
	after.available += c.GetDelta()
	d.add(&skupb.Event{Event: &skupb.Event_Adjusted{Adjusted: &skupb.Adjusted{
		Delta: c.GetDelta(), Reason: c.GetReason(), IdempotencyKey: c.GetIdempotencyKey(), ActorId: c.GetActor().GetUserId(), InputHash: hash,
	}}}, after)
	return &skupb.StockReply{Level: d.level()}
}

// setOnHand takes a count as the truth. Units that the count missed leave the
// available ones and, when these are not enough, those set aside. A count below
// what orders were promised is refused, unless a shortfall is allowed: then
// what was promised beyond the count stays promised and is reported as missing;
// the books go on balancing, on a stock that is short by what the Shortfall
// event says.
func (d *draft) setOnHand(c *skupb.SetOnHand) *skupb.StockReply {
	allow := int64(0)
	if c.GetAllowShortfall() {
		allow = 1
	}
	hash := inputHash("set", c.GetActor().GetUserId(), c.GetReason(), c.GetOnHand(), c.GetIfVersion(), allow)
	if reply := d.answered(c.GetIdempotencyKey(), hash); reply != nil {
		return reply
	}
	r := d.refuseChange(c.GetIdempotencyKey(), c.GetReason(), c.GetIfVersion())
	if r == nil && (c.GetOnHand() < 0 || c.GetOnHand() > MaxOnHand) {
		r = refuse(commonpb.Reason_REASON_INVALID, "onHand is between 0 and "+decimal(MaxOnHand), "onHand")
	}
	if r == nil && !c.GetAllowShortfall() {
		r = d.refuseCount(c.GetOnHand())
	}
	if r != nil {
		return &skupb.StockReply{Refusal: r}
	}
	delta := c.GetOnHand() - d.stock.onHand()
	gone := min(-delta, d.stock.available+d.stock.unavailable)
	missing := int64(0)
	if delta < 0 {
		delta, missing = -gone, -delta-gone
	}
	d.add(&skupb.Event{Event: &skupb.Event_Adjusted{Adjusted: &skupb.Adjusted{
		Delta: delta, Reason: c.GetReason(), IdempotencyKey: c.GetIdempotencyKey(), ActorId: c.GetActor().GetUserId(), OnHandCounted: true, InputHash: hash,
	}}}, d.stock.counted(delta))
	if missing > 0 {
		d.append(&skupb.Event{Event: &skupb.Event_Shortfall{Shortfall: &skupb.Shortfall{Missing: missing, Reason: c.GetReason()}}}, d.stock)
	}
	return &skupb.StockReply{Level: d.level()}
}

// refuseCount is for a count below what is held and committed.
func (d *draft) refuseCount(onHand int64) *commonpb.Refusal {
	gone := d.stock.onHand() - onHand
	r := d.refuseUnits(gone-d.stock.unavailable, anyUnits, "onHand")
	if r.GetReason() == commonpb.Reason_REASON_INSUFFICIENT_STOCK {
		free := d.stock.available + d.stock.unavailable
		r.Message = "onHand is at least the " + decimal(d.stock.onHand()-free) + " units that are held or committed; allowShortfall sets it all the same"
		r.Requested, r.Available = gone, free
	}
	return r
}

// markUnavailable sets available units aside.
func (d *draft) markUnavailable(c *skupb.MarkUnavailable) *skupb.StockReply {
	hash := inputHash("aside", c.GetActor().GetUserId(), c.GetReason(), c.GetQuantity(), 0, 0)
	if reply := d.answered(c.GetIdempotencyKey(), hash); reply != nil {
		return reply
	}
	r := d.refuseChange(c.GetIdempotencyKey(), c.GetReason(), 0)
	switch {
	case r != nil:
	case c.GetQuantity() < 1 || c.GetQuantity() > MaxOnHand:
		r = refuse(commonpb.Reason_REASON_INVALID, "quantity is between 1 and "+decimal(MaxOnHand), "quantity")
	default:
		r = d.refuseUnits(c.GetQuantity(), anyUnits, "quantity")
	}
	if r != nil {
		return &skupb.StockReply{Refusal: r}
	}
	after := d.stock
	after.available -= c.GetQuantity()
	after.unavailable += c.GetQuantity()
	d.add(&skupb.Event{Event: &skupb.Event_MarkedUnavailable{MarkedUnavailable: &skupb.MarkedUnavailable{
		Quantity: c.GetQuantity(), Reason: c.GetReason(), IdempotencyKey: c.GetIdempotencyKey(), ActorId: c.GetActor().GetUserId(), InputHash: hash,
	}}}, after)
	return &skupb.StockReply{Level: d.level()}
}

// answered is the answer that the key got; nil when it is new. The level is the
// one that the command left; what the product says of the SKU is as of now.
func (d *draft) answered(key string, hash []byte) *skupb.StockReply {
	m := d.s.remembered.get(key)
	if m == nil {
		return nil
	}
	if m.value.inputHash != string(hash) {
		return &skupb.StockReply{Refusal: refuse(commonpb.Reason_REASON_IDEMPOTENCY_MISMATCH, "this key was used for another change of this SKU: a new change needs a new key", "idempotencyKey")}
	}
	level := d.level()
	level.Stock, level.Version, level.AsOfMs = m.value.after.message(), m.value.version, m.atMs
	return &skupb.StockReply{Level: level}
}

// refuseChange is what all changes of stock by the staff have in common.
func (d *draft) refuseChange(key, reason string, ifVersion int64) *commonpb.Refusal {
	if r := checkKey(key); r != nil {
		return r
	}
	switch {
	case utf8.RuneCountInString(reason) > maxReasonRunes:
		return refuse(commonpb.Reason_REASON_INVALID, "reason has at most "+decimal(maxReasonRunes)+" characters", "reason")
	case d.s.config.productID == "":
		return d.notConfigured()
	case ifVersion != 0 && ifVersion != d.version:
		r := refuse(commonpb.Reason_REASON_VERSION_CONFLICT, "the SKU's version is "+decimal(d.version)+": read its stock again", "ifVersion")
		r.CurrentVersion = d.version
		return r
	}
	kept := &d.s.remembered
	if kept.len()-kept.forgettable(d.nowMs) >= MaxRemembered {
		r := refuse(commonpb.Reason_REASON_THROTTLED, "this SKU remembers its last "+decimal(MaxRemembered)+" changes for "+decimal(int64(KeepFor/time.Hour))+" hours: at most that many at a time")
		r.RetryAfterMs = kept.retryAfterMs(d.nowMs)
		return r
	}
	return nil
}

// inputHash is 16 bytes of SHA-256 over a change and who asked for it.
func inputHash(what, actor, reason string, numbers ...int64) []byte {
	b := make([]byte, 0, 128)
	for _, text := range [...]string{what, actor, reason} {
		b = binary.AppendUvarint(b, uint64(len(text)))
		b = append(b, text...)
	}
	for _, n := range numbers {
		b = binary.AppendVarint(b, n)
	}
	sum := sha256.Sum256(b)
	return sum[:16]
}
