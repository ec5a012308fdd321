package order

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"

	"google.golang.org/protobuf/proto"

	"stampede/proto/gen/commonpb"
	"stampede/proto/gen/orderpb"
	"stampede/proto/gen/paymentpb"
	"stampede/proto/gen/skupb"
)

// Pending lists what the state wants of others, one stage at a time: an answer
// about the money; then the units, committed or given back; then the money
// itself, taken or let go of. Units never wait for the payment provider longer
// than for its answer. When the order is paid: what a fulfilment or a refund
// wants, which is the money before the units.
func Pending(s *State) []Ask {
	switch {
	case s.status == orderpb.Status_STATUS_PAYING && s.payment.status == orderpb.PaymentStatus_PAYMENT_STATUS_PENDING:
		return []Ask{s.authorizeAsk()}
	case s.status == orderpb.Status_STATUS_PAYING && s.payment.status == orderpb.PaymentStatus_PAYMENT_STATUS_AUTHORIZED:
		return s.confirmAsks()
	case s.holding():
		return s.releaseAsks()
	case s.status == orderpb.Status_STATUS_CONFIRMED && s.payment.status == orderpb.PaymentStatus_PAYMENT_STATUS_AUTHORIZED:
		return []Ask{s.captureAsk()}
	case s.move != nil:
		return s.moveAsks()
	default:
		return s.voidAsks()
	}
}

func askKey(what string, n int) string { return what + "/" + strconv.Itoa(n) }

func attemptKey(what string, attempt int64) string {
	return what + "/" + strconv.FormatInt(attempt, 10)
}

func (s *State) authorizeAsk() Ask {
	return Ask{Key: attemptKey("authorize", s.payment.attempt), Kind: "payment", ID: s.id, Command: &paymentpb.Authorize{
		OrderId: s.id, Attempt: s.payment.attempt, Amount: proto.CloneOf(s.total), Token: s.payment.token,
		RequestedAtMs: s.payment.requestedAtMs, Awaited: s.payment.unanswered,
	}}
}

// lookupAsk asks about an attempt that waits for the shopper. Questions with
// other evidence are other questions.
func (s *State) lookupAsk(evidence string) Ask {
	key := attemptKey("lookup", s.payment.attempt)
	if evidence != "" {
		sum := sha256.Sum256([]byte(evidence))
		key += "/" + hex.EncodeToString(sum[:8])
	}
	return Ask{Key: key, Kind: "payment", ID: s.id, Command: &paymentpb.Lookup{
		OrderId: s.id, Attempt: s.payment.attempt, Reference: s.payment.reference, Evidence: evidence,
	}}
}

func (s *State) captureAsk() Ask {
	return Ask{Key: attemptKey("capture", s.payment.attempt), Kind: "payment", ID: s.id, Command: &paymentpb.Capture{
		OrderId: s.id, Attempt: s.payment.attempt, Reference: s.payment.reference, Amount: proto.CloneOf(s.payment.authorized),
	}}
}

func (s *State) voidAsks() []Ask {
	var asks []Ask
	for _, o := range s.toVoid {
		asks = append(asks, Ask{Key: attemptKey("void", o.attempt), Kind: "payment", ID: s.id, Command: &paymentpb.Void{
			OrderId: s.id, Attempt: o.attempt, Reference: o.reference,
		}})
	}
	return asks
}

func (s *State) confirmAsks() []Ask {
	asks := make([]Ask, len(s.lines))
	for i := range s.lines {
		asks[i] = Ask{Key: askKey("confirm", i), Kind: "sku", ID: s.lines[i].sku, Command: &skupb.Confirm{
			OrderId: s.id, CustomerId: s.customerID, Quantity: s.lines[i].quantity, SaleId: s.saleID,
		}}
	}
	return asks
}

// releaseAsks: where a confirm was refused, others may have been granted, and
// those are taken back too.
func (s *State) releaseAsks() []Ask {
	var asks []Ask
	for i := range s.lines {
		if s.lines[i].status != orderpb.LineStatus_LINE_STATUS_HELD {
			continue
		}
		asks = append(asks, Ask{Key: askKey("release", i), Kind: "sku", ID: s.lines[i].sku, Command: &skupb.Release{
			OrderId: s.id, IncludeCommitted: s.compensating(),
		}})
	}
	return asks
}

// proceed decides what follows from the answers to a stage of Pending. Answers
// that are missing, or that say nothing, decide nothing: they are asked again.
func (d *draft) proceed(heard map[string]proto.Message) Decision {
	asks := Pending(d.s)
	for _, a := range asks {
		if heard[a.Key] == nil {
			return d.wait()
		}
	}
	if len(asks) == 0 {
		return d.wait()
	}
	switch asks[0].Command.(type) {
	case *paymentpb.Authorize:
		d.authorized(heard[asks[0].Key])
	case *skupb.Confirm:
		d.confirmed(asks, heard)
	case *skupb.Release:
		// Whatever the SKU said: of units that it would not take back it holds none for long.
		d.add(&orderpb.Event{Event: &orderpb.Event_HoldsReleased{HoldsReleased: &orderpb.HoldsReleased{}}})
	case *paymentpb.Capture:
		d.captured(heard[asks[0].Key])
	case *paymentpb.Refund:
		d.refunded(heard[asks[0].Key])
	case *skupb.Fulfil, *skupb.Return:
		d.unitsMoved(asks, heard)
	case *skupb.SettleReturn:
		d.returnSettled(asks, heard)
	case *paymentpb.Void:
		d.voided(asks, heard)
	}
	return d.wait()
}

// captured: the money is the shop's; or it never will be although it was
// authorized, and the units are taken back.
func (d *draft) captured(heard proto.Message) {
	reply, ok := heard.(*paymentpb.CaptureReply)
	switch {
	case !ok:
	case reply.GetRefused() != "":
		refusal := refuse(commonpb.Reason_REASON_PAYMENT_DECLINED, "the money was promised and then not given ("+reply.GetRefused()+"): place a new order")
		d.add(&orderpb.Event{Event: &orderpb.Event_Cancelled{Cancelled: &orderpb.Cancelled{Reason: "confirmed, but the money was not given", Refusal: refusal}}})
	default:
		d.add(&orderpb.Event{Event: &orderpb.Event_PaymentCaptured{PaymentCaptured: &orderpb.PaymentCaptured{Amount: d.s.payment.authorized}}})
	}
}

// confirmed: every line is committed, or the order is cancelled.
func (d *draft) confirmed(asks []Ask, heard map[string]proto.Message) {
	versions := make([]int64, len(asks))
	var refusal *commonpb.Refusal
	for i, a := range asks {
		reply, ok := heard[a.Key].(*skupb.ConfirmReply)
		if !ok {
			return
		}
		versions[i] = reply.GetVersion()
		if refusal == nil && reply.GetRefusal() != nil {
			refusal = proto.CloneOf(reply.GetRefusal())
			refusal.Field, refusal.Sku = nil, a.ID
		}
	}
	if refusal != nil {
		d.add(&orderpb.Event{Event: &orderpb.Event_Cancelled{Cancelled: &orderpb.Cancelled{Reason: "paid, but not to be had any more", Refusal: refusal}}})
		return
	}
	d.add(&orderpb.Event{Event: &orderpb.Event_Confirmed{Confirmed: &orderpb.Confirmed{SkuVersions: versions}}})
}

func (d *draft) voided(asks []Ask, heard map[string]proto.Message) {
	for _, a := range asks {
		if _, ok := heard[a.Key].(*paymentpb.VoidReply); !ok {
			continue
		}
		d.add(&orderpb.Event{Event: &orderpb.Event_PaymentVoided{PaymentVoided: &orderpb.PaymentVoided{Attempt: a.Command.(*paymentpb.Void).GetAttempt()}}})
	}
}
