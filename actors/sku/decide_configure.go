package sku

import (
	"google.golang.org/protobuf/proto"

	"stampede/proto/gen/commonpb"
	"stampede/proto/gen/skupb"
)

// configure takes what the owning product says of the SKU. The first product
// that does owns it.
func (d *draft) configure(c *skupb.Configure) *skupb.ConfigureReply {
	if r := d.refuseConfigure(c); r != nil {
		return &skupb.ConfigureReply{Refusal: r}
	}
	conf := &d.s.config
	next := config{productID: c.GetProductId(), productVersion: c.GetProductVersion(), name: c.GetName(), price: c.GetPrice(), active: c.GetActive()}
	if next.productVersion < conf.productVersion || next.same(conf) {
		return &skupb.ConfigureReply{Level: d.level()}
	}
	initial := c.GetInitialStock()
	if d.s.stocked {
		initial = 0
	}
	after := d.stock
	after.available += initial
	d.add(&skupb.Event{Event: &skupb.Event_Configured{Configured: &skupb.Configured{
		ProductId: next.productID, ProductVersion: next.productVersion, Name: next.name, Price: next.price, Active: next.active, InitialStock: initial,
	}}}, after)
	return &skupb.ConfigureReply{Level: d.levelWith(next)}
}

func (c *config) same(other *config) bool {
	return c.productID == other.productID && c.productVersion == other.productVersion && c.name == other.name &&
		c.active == other.active && proto.Equal(c.price, other.price)
}

func (d *draft) refuseConfigure(c *skupb.Configure) *commonpb.Refusal {
	owner := d.s.config.productID
	switch {
	case !validSKU(d.s.id):
		return refuse(commonpb.Reason_REASON_INVALID, "a SKU has 1 to 64 letters, digits, '-' and '_'", "sku")
	case c.GetProductId() == "" || len(c.GetProductId()) > maxIDBytes:
		return refuse(commonpb.Reason_REASON_INVALID, "a SKU belongs to a product", "productId")
	case c.GetProductVersion() < 1:
		return refuse(commonpb.Reason_REASON_INVALID, "a product's versions begin with 1", "productVersion")
	case len(c.GetName()) > maxNameBytes:
		return refuse(commonpb.Reason_REASON_INVALID, "a name has at most "+decimal(maxNameBytes)+" bytes", "name")
	case c.GetPrice().GetMinorUnits() < 0 || len(c.GetPrice().GetCurrency()) != 3:
		return refuse(commonpb.Reason_REASON_INVALID, "a price is at least 0, in an ISO 4217 currency", "price")
	case c.GetInitialStock() < 0 || c.GetInitialStock() > MaxOnHand:
		return refuse(commonpb.Reason_REASON_INVALID, "initialStock is between 0 and "+decimal(MaxOnHand), "initialStock")
	case owner != "" && owner != c.GetProductId():
		r := refuse(commonpb.Reason_REASON_CONFLICT, "the SKU "+d.s.id+" belongs to another product", "sku")
		r.Sku = d.s.id
		return r
	}
	return nil
}

// unconfigure takes a claim back, and with it the stock that it put on hand: a
// SKU without a product has none. A SKU that its product has put on sale, or
// configured at a higher version, has outlived the claim and stays.
func (d *draft) unconfigure(c *skupb.Unconfigure) *skupb.UnconfigureReply {
	conf := &d.s.config
	if conf.productID == "" {
		return &skupb.UnconfigureReply{}
	}
	var r *commonpb.Refusal
	switch {
	case c.GetProductId() != conf.productID:
		r = refuse(commonpb.Reason_REASON_CONFLICT, "the SKU "+d.s.id+" belongs to another product", "sku")
	case c.GetProductVersion() != 0 && c.GetProductVersion() != conf.productVersion:
		r = refuse(commonpb.Reason_REASON_CONFLICT, "the SKU "+d.s.id+" has been configured at version "+decimal(conf.productVersion)+" of its product", "productVersion")
	case conf.active:
		r = refuse(commonpb.Reason_REASON_ILLEGAL_TRANSITION, "the SKU "+d.s.id+" is on sale", "sku")
	case !d.saleOver:
		r = refuse(commonpb.Reason_REASON_ILLEGAL_TRANSITION, "the SKU "+d.s.id+" takes part in the sale "+d.sale.GetSaleId(), "sku")
	case d.stock.held > 0 || d.stock.committed > 0:
		r = refuse(commonpb.Reason_REASON_ILLEGAL_TRANSITION, "units of the SKU "+d.s.id+" are held or sold", "sku")
	}
	if r != nil {
		r.Sku = d.s.id
		return &skupb.UnconfigureReply{Refusal: r}
	}
	d.add(&skupb.Event{Event: &skupb.Event_Unconfigured{Unconfigured: &skupb.Unconfigured{ProductId: conf.productID}}}, stock{})
	return &skupb.UnconfigureReply{}
}
