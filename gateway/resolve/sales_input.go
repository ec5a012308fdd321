package resolve

import (
	"crypto/rand"
	"strings"

	"stampede/actors/sale"
	"stampede/gateway/graph"
	"stampede/proto/gen/orderpb"
	"stampede/proto/gen/salepb"
)

const (
	salePrefix             = "sal_"
	maxAdmissionTokenBytes = 255
)

// createSaleCommand turns an input into the command, or says what is wrong with
// it; what is wrong with the numbers the sale says itself.
func createSaleCommand(v Viewer, in *graph.CreateSaleInput) (*salepb.Create, problems) {
	var bad problems
	bad.key(in.IdempotencyKey)
	bad.require(strings.TrimSpace(in.Name) != "" && text(in.Name, sale.MaxNameCharacters), "must be 1 to 200 characters, not all spaces, without control characters", "name")
	bad.require(in.PerCustomerLimit == nil || *in.PerCustomerLimit >= 1, oneTo(", or left out", sale.MaxPerCustomer), "perCustomerLimit")
	bad.require(len(in.Items) >= 1 && len(in.Items) <= sale.MaxItems, oneTo(" items", sale.MaxItems), "items")
	cmd := &salepb.Create{
		Actor: v.actor(), IdempotencyKey: in.IdempotencyKey, Name: in.Name, StartsAtMs: int64(in.StartsAt), EndsAtMs: int64(in.EndsAt),
		PerCustomerLimit: int64(deref(in.PerCustomerLimit)), AdmitPerSecond: int64(deref(in.AdmitPerSecond)), Admission: salepb.Admission_ADMISSION_OPEN_TO_ALL,
	}
	switch deref(in.Admission) {
	case graph.AdmissionPolicyFirstCome:
		cmd.Admission = salepb.Admission_ADMISSION_FIRST_COME
	case graph.AdmissionPolicyShuffledAtOpening:
		cmd.Admission = salepb.Admission_ADMISSION_SHUFFLED_AT_OPENING
		cmd.ShuffleSecret = make([]byte, sale.SecretBytes)
		_, _ = rand.Read(cmd.ShuffleSecret) // never fails
	case graph.AdmissionPolicyOpenToAll:
	}
	if len(bad) > 0 {
		return nil, bad
	}
	for i := range in.Items {
		item := &in.Items[i]
		bad.require(isSKU(item.Sku), wantSKU, "items", index(i), "sku")
		bad.require(item.Allocation >= 1, "must be at least 1", "items", index(i), "allocation")
		cmd.Items = append(cmd.Items, &salepb.CreateItem{
			Sku: item.Sku, Allocation: int64(item.Allocation), SalePrice: bad.price(&item.SalePrice, "items", index(i), "salePrice"),
		})
	}
	return cmd, bad
}

func controlCommand(v Viewer, in *graph.ControlSaleInput) (*salepb.Control, problems) {
	var bad problems
	bad.id(in.ID, salePrefix, "id")
	cmd := &salepb.Control{Actor: v.actor(), IfVersion: bad.version(in.IfVersion), Pause: in.Pause, End: deref(in.End)}
	if in.AdmitPerSecond != nil {
		rate := int64(*in.AdmitPerSecond)
		cmd.AdmitPerSecond = &rate
	}
	if in.StartsAt != nil {
		at := int64(*in.StartsAt)
		cmd.StartsAtMs = &at
	}
	if in.EndsAt != nil {
		at := int64(*in.EndsAt)
		cmd.EndsAtMs = &at
	}
	return cmd, bad
}

// ofSale reads what makes an order one of a sale. A token that is no good
// admits nobody, and the order is sent all the same: it may have been placed
// before, and then is answered like then.
func (r *Resolver) ofSale(v Viewer, in *graph.PlaceOrderInput, cmd *orderpb.Place, bad *problems) {
	token := deref(in.AdmissionToken)
	if in.SaleID == nil {
		bad.require(token == "", "is for an order with saleId", "admissionToken")
		return
	}
	bad.id(*in.SaleID, salePrefix, "saleId")
	bad.require(len(token) <= maxAdmissionTokenBytes, "must be an admission token as the ticket has it", "admissionToken")
	cmd.SaleId = *in.SaleID
	cmd.Admitted = token != "" && r.signer.Check(token, cmd.SaleId, v.ID, r.Clock()) == nil
}

// notAdmitted says why a token did not help.
func (r *Resolver) notAdmitted(v Viewer, in *graph.PlaceOrderInput, payload *graph.OrderPayload) {
	token := deref(in.AdmissionToken)
	if token == "" || len(payload.UserErrors) != 1 {
		return
	}
	refused, ok := payload.UserErrors[0].(graph.GenericError)
	if !ok || refused.Code != graph.ErrorCodeAdmissionRequired {
		return
	}
	if err := r.signer.Check(token, deref(in.SaleID), v.ID, r.Clock()); err != nil {
		refused.Message = err.Error()
		payload.UserErrors[0] = refused
	}
}
