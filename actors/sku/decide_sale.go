package sku

import (
	"slices"

	"stampede/proto/gen/commonpb"
	"stampede/proto/gen/skupb"
)

// pool says which units a command may take.
type pool int

const (
	// ordinaryUnits are not set aside for a sale.
	ordinaryUnits pool = iota
	// saleUnits are set aside for the sale and not taken yet.
	saleUnits
	// anyUnits is what the staff moves: what is there, whoever was to get it.
	anyUnits
)

// free is how many units of the pool can be had.
func (d *draft) free(of pool) int64 {
	available := d.stock.available
	unsold := int64(0)
	if !d.saleOver {
		unsold = d.sale.GetAllocation() - d.saleTaken
	}
	switch of {
	case ordinaryUnits:
		return max(0, available-unsold)
	case saleUnits:
		return min(unsold, available)
	case anyUnits:
	}
	return available
}

// sells reports whether the sale is this SKU's, and not over.
func (d *draft) sells(saleID string) bool {
	return saleID != "" && !d.saleOver && d.sale.GetSaleId() == saleID
}

// priceIn is the price in the sale, or the ordinary one.
func (d *draft) priceIn(saleID string) *commonpb.Money {
	if saleID != "" {
		return d.sale.GetPrice()
	}
	return d.s.config.price
}

// closeSale ends a sale whose time is over.
func (d *draft) closeSale() {
	if d.saleOver || d.nowMs < d.sale.GetEndsAtMs() {
		return
	}
	d.append(&skupb.Event{Event: &skupb.Event_SaleClosed{SaleClosed: &skupb.SaleClosed{SaleId: d.sale.GetSaleId()}}}, d.stock)
	d.saleOver = true
}

// leaveSale follows that a hold has ended within the draft.
func (d *draft) leaveSale(a *allocation) {
	if d.saleOver || !d.s.inSale(a) {
		return
	}
	d.saleTaken -= int64(a.quantity)
	if d.sale.GetPerCustomerLimit() == 0 {
		return
	}
	if d.givenBack == nil {
		d.givenBack = map[string]int64{}
	}
	d.givenBack[a.customerID] += int64(a.quantity)
}

// refuseInSale is why nothing can be had in the sale now, whatever it is.
func (d *draft) refuseInSale(c *skupb.Reserve) *commonpb.Refusal {
	mine := d.sale.GetSaleId() == c.GetSaleId()
	var r *commonpb.Refusal
	switch {
	case mine && d.saleOver, slices.Contains(d.s.pastSales, c.GetSaleId()):
		r = refuse(commonpb.Reason_REASON_SALE_ENDED, "the sale is over: order without saleId, at the ordinary price", "saleId")
	case !mine:
		r = refuse(commonpb.Reason_REASON_INVALID, "the SKU "+d.s.id+" is not part of this sale: order it without saleId", "saleId")
	case d.nowMs < d.sale.GetStartsAtMs():
		r = refuse(commonpb.Reason_REASON_SALE_NOT_OPEN, "the sale has not opened yet: send the same again at its startsAt", "saleId")
	case d.sale.GetPaused():
		r = refuse(commonpb.Reason_REASON_SALE_PAUSED, "the sale is paused: send the same again when it goes on", "saleId")
	case d.sale.GetAdmissionRequired() && !c.GetAdmitted():
		r = refuse(commonpb.Reason_REASON_ADMISSION_REQUIRED, "the sale has a waiting room: join it, and pass the ticket's admissionToken", "admissionToken")
	case c.GetCustomerId() == "":
		r = refuse(commonpb.Reason_REASON_INVALID, "a sale sells to somebody", "customerId")
	default:
		return nil
	}
	r.Sku = d.s.id
	return r
}

// refuseSaleUnits keeps a customer within the sale's limit and the sale within
// its allocation, counting nothing whose hold is over.
func (d *draft) refuseSaleUnits(customerID string, units int64) *commonpb.Refusal {
	if r := d.refuseOverLimit(customerID, units); r != nil {
		return r
	}
	return d.refuseUnits(units, saleUnits, "quantity")
}

func (d *draft) refuseOverLimit(customerID string, units int64) *commonpb.Refusal {
	limit := d.sale.GetPerCustomerLimit()
	used := func() int64 { return d.s.sale.used[customerID] - d.givenBack[customerID] }
	within := func() bool { return used()+units <= limit }
	if limit == 0 {
		return nil
	}
	if !within() {
		if all := d.expireUntil(within); !within() {
			if !all {
				return throttledByExpiry()
			}
			return d.overLimit(units, limit, used())
		}
	}
	if used() == 0 && len(d.s.sale.used) >= MaxAllocations {
		r := refuse(commonpb.Reason_REASON_THROTTLED, "units of this SKU went to "+decimal(MaxAllocations)+" customers in this sale: at most that many")
		r.RetryAfterMs = 60_000
		return r
	}
	return nil
}

func (d *draft) overLimit(units, limit, used int64) *commonpb.Refusal {
	r := refuse(commonpb.Reason_REASON_CUSTOMER_LIMIT,
		"a customer may have "+decimal(limit)+" units of "+d.s.id+" in this sale: you have "+decimal(used)+", "+decimal(units)+" more were asked for", "quantity")
	r.Sku, r.Requested, r.Limit, r.Used = d.s.id, units, limit, used
	return r
}

// configureSale takes what a sale says of its part here.
func (d *draft) configureSale(c *skupb.ConfigureSale) *skupb.ConfigureSaleReply {
	past := slices.Contains(d.s.pastSales, c.GetSaleId())
	mine := c.GetSaleId() != "" && d.sale.GetSaleId() == c.GetSaleId()
	switch {
	case c.GetEnded() && (past || mine && d.saleOver), mine && !d.saleOver && c.GetSaleVersion() <= d.sale.GetSaleVersion():
		return &skupb.ConfigureSaleReply{Level: d.level()}
	case past || mine && d.saleOver:
		return d.refuseSale(refuse(commonpb.Reason_REASON_SALE_ENDED, "the sale is over", "saleId"))
	}
	if r := d.refuseConfigureSale(c, mine); r != nil {
		return d.refuseSale(r)
	}
	if mine {
		// What was promised when the sale was made stays.
		c = &skupb.ConfigureSale{
			SaleId: c.GetSaleId(), SaleVersion: c.GetSaleVersion(), StartsAtMs: c.GetStartsAtMs(), EndsAtMs: c.GetEndsAtMs(), Paused: c.GetPaused(), Ended: c.GetEnded(),
			Price: d.sale.GetPrice(), Allocation: d.sale.GetAllocation(), PerCustomerLimit: d.sale.GetPerCustomerLimit(), AdmissionRequired: d.sale.GetAdmissionRequired(),
		}
	}
	d.append(&skupb.Event{Event: &skupb.Event_SaleConfigured{SaleConfigured: &skupb.SaleConfigured{Sale: c}}}, d.stock)
	switch {
	case mine:
		d.sale, d.saleOver = c, c.GetEnded()
	case !c.GetEnded():
		d.sale, d.saleOver, d.saleTaken = c, false, 0
	}
	return &skupb.ConfigureSaleReply{Level: d.level()}
}

func (d *draft) refuseSale(r *commonpb.Refusal) *skupb.ConfigureSaleReply {
	r.Sku = d.s.id
	return &skupb.ConfigureSaleReply{Refusal: r}
}

func (d *draft) refuseConfigureSale(c *skupb.ConfigureSale, mine bool) *commonpb.Refusal {
	price, own := c.GetPrice(), d.s.config.price
	switch {
	case c.GetSaleId() == "" || len(c.GetSaleId()) > maxIDBytes || !printable(c.GetSaleId()):
		return refuse(commonpb.Reason_REASON_INVALID, "a sale has an id", "saleId")
	case c.GetSaleVersion() < 1:
		return refuse(commonpb.Reason_REASON_INVALID, "a sale's versions begin with 1", "saleVersion")
	case c.GetEnded():
		return nil
	case c.GetStartsAtMs() >= c.GetEndsAtMs() || !mine && c.GetEndsAtMs() <= d.nowMs:
		return refuse(commonpb.Reason_REASON_INVALID, "a sale ends after it starts, and in the future", "endsAt")
	case mine:
		return nil
	case d.s.config.productID == "":
		return d.notConfigured()
	case !d.saleOver:
		return refuse(commonpb.Reason_REASON_CONFLICT, "the SKU "+d.s.id+" takes part in the sale "+d.sale.GetSaleId()+": one at a time, end that one first", "sku")
	case price.GetMinorUnits() < 0 || price.GetCurrency() != own.GetCurrency():
		return refuse(commonpb.Reason_REASON_INVALID, "a sale price is at least 0, in the SKU's currency "+own.GetCurrency(), "salePrice")
	case c.GetAllocation() < 1 || c.GetAllocation() > MaxOnHand:
		return refuse(commonpb.Reason_REASON_INVALID, "allocation is between 1 and "+decimal(MaxOnHand), "allocation")
	case c.GetPerCustomerLimit() < 0 || c.GetPerCustomerLimit() > MaxOnHand:
		return refuse(commonpb.Reason_REASON_INVALID, "a limit is between 1 and "+decimal(MaxOnHand), "perCustomerLimit")
	}
	return d.refuseUnits(c.GetAllocation(), ordinaryUnits, "allocation")
}

// saleLevel is the SKU's part in its sale, for people; nil: there is none.
func (d *draft) saleLevel() *skupb.SaleLevel {
	if d.saleOver {
		return nil
	}
	return &skupb.SaleLevel{
		SaleId: d.sale.GetSaleId(), Allocation: d.sale.GetAllocation(), Taken: d.saleTaken, Remaining: max(0, d.free(saleUnits)), SalePrice: d.sale.GetPrice(),
	}
}
