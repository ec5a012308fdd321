package sale

import (
	"fmt"
	"strconv"

	"google.golang.org/protobuf/proto"

	"stampede/proto/gen/commonpb"
	"stampede/proto/gen/salepb"
	"stampede/proto/gen/skupb"
)

// Pending tells every SKU how to sell in this sale, or not to any more.
func Pending(s *State) []Ask {
	if s.sale == nil || s.configured >= s.config {
		return nil
	}
	over := s.sale.Status == salepb.Status_STATUS_ENDED || s.sale.Status == salepb.Status_STATUS_REJECTED
	asks := make([]Ask, len(s.sale.Items))
	for i, item := range s.sale.Items {
		asks[i] = Ask{Key: fmt.Sprintf("configure/%d/%d", s.config, i), Kind: skuKind, ID: item.Sku, Command: &skupb.ConfigureSale{
			SaleId: s.id, SaleVersion: s.config, StartsAtMs: s.sale.StartsAtMs, EndsAtMs: s.sale.EndsAtMs, Price: proto.CloneOf(item.SalePrice),
			Allocation: item.Allocation, PerCustomerLimit: s.sale.PerCustomerLimit,
			AdmissionRequired: s.sale.Admission != salepb.Admission_ADMISSION_OPEN_TO_ALL, Paused: s.paused, Ended: over,
		}}
	}
	return asks
}

// configured takes in the SKUs' answers. A draft whose SKUs agree is scheduled,
// and one that a SKU refuses is rejected. Of a sale that was scheduled a SKU
// that refuses has no part any more: it has closed it by its own deadline, a
// moment before it was told of a later one. Then the sale is over everywhere,
// so that it never says that it is open and sells nothing.
func (d *draft) configured(heard map[string]proto.Message) Decision {
	asks := Pending(d.s)
	if len(asks) == 0 {
		return d.wait()
	}
	var first *commonpb.Refusal
	for i, a := range asks {
		reply, ok := heard[a.Key].(*skupb.ConfigureSaleReply)
		switch r := reply.GetRefusal(); {
		case !ok || r.GetReason() == commonpb.Reason_REASON_THROTTLED || r.GetReason() == commonpb.Reason_REASON_IN_PROGRESS:
			return d.wait()
		case r != nil && first == nil:
			first = ofItem(r, i)
		}
	}
	s := d.s
	switch {
	case first.GetReason() == commonpb.Reason_REASON_SALE_ENDED && (s.opened() || s.sale.Status == salepb.Status_STATUS_SCHEDULED):
		d.add(&salepb.Event{Event: &salepb.Event_Ended{Ended: &salepb.Ended{}}})
		return d.wait()
	case s.sale.Status != salepb.Status_STATUS_DRAFT:
		d.add(&salepb.Event{Event: &salepb.Event_SkusConfigured{SkusConfigured: &salepb.SkusConfigured{ConfigVersion: s.config}}})
		return d.wait()
	}
	if first != nil {
		d.add(&salepb.Event{Event: &salepb.Event_Rejected{Rejected: &salepb.Rejected{Refusal: first}}})
		return d.wait()
	}
	scheduled := &salepb.Scheduled{
		Name: s.sale.Name, StartsAtMs: s.sale.StartsAtMs, EndsAtMs: s.sale.EndsAtMs, PerCustomerLimit: s.sale.PerCustomerLimit,
		Admission: s.sale.Admission, ShuffleCommitment: s.sale.Schedule.GetShuffleCommitment(),
	}
	for _, item := range s.sale.Items {
		scheduled.Items = append(scheduled.Items, &salepb.CreateItem{Sku: item.Sku, SalePrice: proto.CloneOf(item.SalePrice), Allocation: item.Allocation})
	}
	d.add(&salepb.Event{Event: &salepb.Event_Scheduled{Scheduled: scheduled}})
	d.onTime()
	return d.wait()
}

// ofItem is a SKU's refusal with its field as a path into the sale's input.
func ofItem(r *commonpb.Refusal, i int) *commonpb.Refusal {
	out := proto.CloneOf(r)
	switch field := r.GetField(); {
	case len(field) == 1 && (field[0] == "endsAt" || field[0] == "perCustomerLimit"):
	default:
		out.Field = append([]string{"items", strconv.Itoa(i)}, field...)
	}
	return out
}
