package resolve

import (
	"context"
	"encoding/hex"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"stampede/actors/sale"
	"stampede/gateway/graph"
	"stampede/gateway/money"
	"stampede/gateway/scalar"
	"stampede/gateway/waiting"
	"stampede/persistence"
	"stampede/proto/gen/commonpb"
	"stampede/proto/gen/productpb"
	"stampede/proto/gen/salepb"
)

const (
	kindSale = "sale"
	// maxSalesListed bounds the list of sales: the newest ones.
	maxSalesListed = 100
	// A ticket is asked for again after a tenth of what it waits, within these.
	leastPollMs, mostPollMs = 1_000, 30_000

	wantTicket = "must be a ticket's id as joinSale gave it"
)

// sale asks the sale itself; nil when there is none.
func (r *Resolver) sale(ctx context.Context, id string) (*graph.Sale, error) {
	reply, err := call[*salepb.SaleReply](ctx, r.Caller, kindSale, id, &salepb.Get{})
	if err != nil || reply.Refusal.GetReason() == commonpb.Reason_REASON_NOT_FOUND {
		return nil, err
	}
	if reply.Sale == nil {
		return nil, fmt.Errorf("ask sale/%s: answered without a sale: %s", id, reply.Refusal.GetMessage())
	}
	return r.saleOf(reply.Sale), nil
}

// sales are the newest ones, as the view knows them.
func (r *Resolver) sales(ctx context.Context, state string) ([]graph.Sale, error) {
	rows, err := r.Views.ListRows(ctx, persistence.ListQuery{Kind: kindSale, State: state, Limit: maxSalesListed})
	if err != nil {
		return nil, fmt.Errorf("list sales: %w", err)
	}
	out := make([]graph.Sale, 0, len(rows))
	for _, row := range rows {
		if row.State == "" {
			continue // a draft
		}
		var s salepb.State
		if err := unmarshalRow(row, &s); err != nil {
			return nil, err
		}
		out = append(out, *r.saleOf(s.Sale))
	}
	return out, nil
}

func (r *Resolver) salePayload(reply *salepb.SaleReply, err error) (*graph.SalePayload, error) {
	if err != nil {
		userErrors, err := later(err)
		return &graph.SalePayload{UserErrors: userErrors}, err
	}
	payload := &graph.SalePayload{UserErrors: refused(reply.Refusal)}
	if reply.Sale != nil {
		payload.Sale = r.saleOf(reply.Sale)
		r.schedules.Note(reply.Sale.Id, reply.Sale.Schedule, r.Clock())
	}
	return payload, nil
}

func (r *Resolver) saleOf(s *salepb.Sale) *graph.Sale {
	c := s.Schedule
	admitted := sale.Admitted(c, r.Clock().UnixMilli())
	out := &graph.Sale{
		ID: s.Id, Name: s.Name, State: saleStateOf(s.Status), StartsAt: scalar.DateTime(s.StartsAtMs), EndsAt: scalar.DateTime(s.EndsAtMs),
		PerCustomerLimit: positive(s.PerCustomerLimit), Admission: admissionOf(s.Admission), Waiting: int32of(c.GetJoined() - admitted), Admitted: int32of(admitted),
		Items: make([]graph.SaleItem, len(s.Items)), Version: int32of(s.Version),
	}
	if s.Admission != salepb.Admission_ADMISSION_OPEN_TO_ALL {
		rate := int32of(c.GetAdmitPerSecond())
		out.AdmitPerSecond = &rate
	}
	if b := c.GetShuffleCommitment(); len(b) > 0 {
		out.ShuffleCommitment, out.ShuffleSecret = optional(hex.EncodeToString(b)), optional(hex.EncodeToString(c.GetShuffleSecret()))
	}
	if c.GetOpened() {
		early := int32of(c.GetJoinedEarly())
		out.JoinedBeforeOpening = &early
	}
	for i, item := range s.Items {
		out.Items[i] = graph.SaleItem{Sku: item.Sku, SaleID: s.Id, SalePrice: money.Of(item.SalePrice), Allocation: int32of(item.Allocation)}
	}
	return out
}

func positive(n int64) *int32 {
	if n <= 0 {
		return nil
	}
	shown := int32of(n)
	return &shown
}

func saleStateOf(s salepb.Status) graph.SaleState {
	switch s {
	case salepb.Status_STATUS_OPEN:
		return graph.SaleStateOpen
	case salepb.Status_STATUS_PAUSED:
		return graph.SaleStatePaused
	case salepb.Status_STATUS_SOLD_OUT:
		return graph.SaleStateSoldOut
	case salepb.Status_STATUS_ENDED:
		return graph.SaleStateEnded
	case salepb.Status_STATUS_UNSPECIFIED, salepb.Status_STATUS_DRAFT, salepb.Status_STATUS_SCHEDULED, salepb.Status_STATUS_REJECTED:
	}
	return graph.SaleStateScheduled
}

func admissionOf(a salepb.Admission) graph.AdmissionPolicy {
	switch a {
	case salepb.Admission_ADMISSION_FIRST_COME:
		return graph.AdmissionPolicyFirstCome
	case salepb.Admission_ADMISSION_SHUFFLED_AT_OPENING:
		return graph.AdmissionPolicyShuffledAtOpening
	case salepb.Admission_ADMISSION_UNSPECIFIED, salepb.Admission_ADMISSION_OPEN_TO_ALL:
	}
	return graph.AdmissionPolicyOpenToAll
}

// ticket is where a customer's number stands now: arithmetic, nobody is asked.
func (r *Resolver) ticket(v Viewer, saleID string, number int64, c *salepb.Schedule) *graph.Ticket {
	now := r.Clock()
	turn := sale.TurnOf(c, number, now.UnixMilli())
	waitMs := turn.WaitMs
	if waitMs < 0 { // nobody is let in for the time being: as long as it takes once that changes
		waitMs = turn.Position * 1000 / max(1, c.GetAdmitPerSecond())
	}
	out := &graph.Ticket{
		ID: r.signer.Ticket(saleID, v.ID, number), SaleID: saleID, Position: int32of(turn.Position), EstimatedWaitMs: int32of(waitMs), PollAfterMs: pollAfter(waitMs),
	}
	if !turn.Admitted {
		return out
	}
	expires := now.Add(waiting.AdmittedFor)
	if ends := time.UnixMilli(c.GetEndsAtMs()); ends.Before(expires) {
		expires = ends
	}
	at := scalar.DateTime(expires.UnixMilli())
	out.AdmissionToken, out.AdmissionExpiresAt = optional(r.signer.Admit(saleID, v.ID, expires)), &at
	// Soon enough for a new token, if the customer is still looking by then.
	out.PollAfterMs = pollAfter(math.MaxInt32)
	return out
}

// pollAfter spreads those who poll: half of the delay up to the whole of it and
// half again, so that those who came together do not come together again.
func pollAfter(waitMs int64) int32 {
	d := min(max(waitMs/10, leastPollMs), mostPollMs)
	return int32of(d/2 + rand.Int64N(d+1)) //nolint:gosec // to spread, not to hide
}

// saleVariant is the product's variant of a SKU, published or not; what the SKU
// itself knows of it when the product has it no more.
func (r *Resolver) saleVariant(ctx context.Context, sku string) (*graph.Variant, error) {
	level, err := r.loaders(ctx).levels.Load(ctx, sku)
	if err != nil {
		return nil, err
	}
	p, err := r.productOfSKU(ctx, level.GetProductId())
	if err != nil {
		return nil, err
	}
	for i, v := range p.GetVariants() {
		if v.Sku == sku {
			return &productOf(p).Variants[i], nil
		}
	}
	return &graph.Variant{Sku: sku, Name: optional(level.GetName()), Price: money.Of(level.GetPrice())}, nil
}

// productOfSKU is in the view, or, if it is new, known to itself alone.
func (r *Resolver) productOfSKU(ctx context.Context, id string) (*productpb.Product, error) {
	if id == "" {
		return nil, nil //nolint:nilnil // nobody has the SKU any more
	}
	rows, err := r.Views.GetRows(ctx, kindProduct, []string{id})
	if err != nil {
		return nil, fmt.Errorf("read product %s: %w", id, err)
	}
	if row, known := rows[id]; known {
		var p productpb.Product
		return &p, unmarshalRow(row, &p)
	}
	reply, err := call[*productpb.ProductReply](ctx, r.Caller, kindProduct, id, &productpb.Get{})
	if err != nil {
		return nil, err
	}
	return reply.Product, nil
}

// schedule asks a sale how it admits; nil when there is none.
func (r *Resolver) schedule(ctx context.Context, saleID string) (*salepb.Schedule, error) {
	reply, err := call[*salepb.JoinReply](ctx, r.Caller, kindSale, saleID, &salepb.GetSchedule{})
	if err != nil || reply.Refusal.GetReason() == commonpb.Reason_REASON_NOT_FOUND {
		return nil, err
	}
	return reply.Schedule, nil
}
