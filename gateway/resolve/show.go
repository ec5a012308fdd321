package resolve

import (
	"stampede/gateway/auth"
	"stampede/gateway/graph"
	"stampede/gateway/money"
	"stampede/gateway/scalar"
	"stampede/proto/gen/accountpb"
	"stampede/proto/gen/orderpb"
	"stampede/proto/gen/productpb"
	"stampede/proto/gen/skupb"
)

// From the actors' messages to the API's types. What the API has and nothing
// can bring about yet (a sale) is truly absent.

func levelOf(l *skupb.Level) *graph.StockLevel {
	s := l.GetStock()
	return &graph.StockLevel{
		Sku: l.Sku, OnHand: int32of(s.GetAvailable() + s.GetHeld() + s.GetCommitted() + s.GetUnavailable()),
		Available: int32of(s.GetAvailable()), Held: int32of(s.GetHeld()), Committed: int32of(s.GetCommitted()), Unavailable: int32of(s.GetUnavailable()),
		Version: int32of(l.Version), AsOf: scalar.DateTime(l.AsOfMs),
	}
}

func productOf(p *productpb.Product) *graph.Product {
	out := &graph.Product{
		ID: p.Id, Slug: p.Slug, Name: p.Name, Description: optional(p.Description), ImageURL: optional(p.ImageUrl), Published: p.Published,
		Variants: make([]graph.Variant, len(p.Variants)), Version: int32of(p.Version),
		CreatedAt: scalar.DateTime(p.CreatedAtMs), UpdatedAt: scalar.DateTime(p.UpdatedAtMs),
	}
	for i, v := range p.Variants {
		out.Variants[i] = graph.Variant{Sku: v.Sku, Name: optional(v.Name), Price: money.Of(v.Price)}
		if v.AttributesJson != "" {
			attributes := scalar.JSON(v.AttributesJson)
			out.Variants[i].Attributes = &attributes
		}
	}
	return out
}

func userOf(u *accountpb.User) *graph.User {
	return &graph.User{
		ID: u.Id, Email: u.Email, Name: optional(u.Name), Roles: shownRoles(u.Roles),
		CreatedAt: scalar.DateTime(u.CreatedAtMs), Version: int32of(u.Version),
	}
}

func shownRoles(roles []accountpb.Role) []graph.Role {
	out := make([]graph.Role, 0, len(roles))
	for _, r := range roles {
		switch r {
		case accountpb.Role_ROLE_CUSTOMER:
			out = append(out, graph.RoleCustomer)
		case accountpb.Role_ROLE_STAFF:
			out = append(out, graph.RoleStaff)
		case accountpb.Role_ROLE_OPERATOR:
			out = append(out, graph.RoleOperator)
		case accountpb.Role_ROLE_UNSPECIFIED:
		}
	}
	return out
}

func orderOf(o *orderpb.Order) *graph.Order {
	state := stateOf(o.Status)
	out := &graph.Order{
		ID: o.Id, Number: o.Number, CustomerID: o.CustomerId, State: state, Payment: paymentOf(o.Payment),
		Lines: make([]graph.OrderLine, len(o.Lines)), Total: money.Of(o.Total),
		PlacedAt: scalar.DateTime(o.PlacedAtMs), History: make([]graph.OrderChange, len(o.History)),
		AllowedTransitions: transitionsOf(o.Status), Version: int32of(o.Version),
	}
	if o.ExpiresAtMs != 0 {
		at := scalar.DateTime(o.ExpiresAtMs)
		out.ExpiresAt = &at
	}
	out.SaleID = optional(o.SaleId)
	if o.Rejection != nil {
		out.Rejection = userError(o.Rejection)
	}
	for i, l := range o.Lines {
		out.Lines[i] = lineOf(l)
	}
	for i, c := range o.History {
		out.History[i] = graph.OrderChange{Version: int32of(c.Version), State: stateOf(c.Status), Reason: optional(c.Reason), Tracking: optional(c.Tracking), At: scalar.DateTime(c.AtMs)}
	}
	return out
}

func lineOf(l *orderpb.Line) graph.OrderLine {
	out := graph.OrderLine{Sku: l.Sku, Name: l.Name, Quantity: int32of(l.Quantity), UnitPrice: money.Of(l.UnitPrice), Fulfilled: int32of(l.Fulfilled), Refunded: int32of(l.Refunded)}
	if out.Name == "" { // the SKU never said what it is called
		out.Name = l.Sku
	}
	if l.SkuVersion != 0 {
		version := int32of(l.SkuVersion)
		out.SkuVersion = &version
	}
	return out
}

func paymentOf(p *orderpb.Payment) graph.Payment {
	return graph.Payment{
		State: paymentStateOf(p.GetStatus()), Authorized: money.OfOptional(p.GetAuthorized()), Captured: money.OfOptional(p.GetCaptured()), Refunded: money.OfOptional(p.GetRefunded()),
		Provider: optional(p.GetProvider()), Reference: optional(p.GetReference()), NextActionURL: optional(p.GetNextActionUrl()),
	}
}

func stateOf(s orderpb.Status) graph.OrderState {
	switch s {
	case orderpb.Status_STATUS_RESERVED:
		return graph.OrderStateReserved
	case orderpb.Status_STATUS_PAYING:
		return graph.OrderStatePaying
	case orderpb.Status_STATUS_CONFIRMED:
		return graph.OrderStateConfirmed
	case orderpb.Status_STATUS_PARTIALLY_FULFILLED:
		return graph.OrderStatePartiallyFulfilled
	case orderpb.Status_STATUS_FULFILLED:
		return graph.OrderStateFulfilled
	case orderpb.Status_STATUS_CANCELLED:
		return graph.OrderStateCancelled
	case orderpb.Status_STATUS_REJECTED:
		return graph.OrderStateRejected
	case orderpb.Status_STATUS_EXPIRED:
		return graph.OrderStateExpired
	case orderpb.Status_STATUS_UNSPECIFIED, orderpb.Status_STATUS_RESERVING:
	}
	return graph.OrderStateReserving
}

func paymentStateOf(s orderpb.PaymentStatus) graph.PaymentState {
	switch s {
	case orderpb.PaymentStatus_PAYMENT_STATUS_PENDING:
		return graph.PaymentStatePending
	case orderpb.PaymentStatus_PAYMENT_STATUS_REQUIRES_ACTION:
		return graph.PaymentStateRequiresAction
	case orderpb.PaymentStatus_PAYMENT_STATUS_AUTHORIZED:
		return graph.PaymentStateAuthorized
	case orderpb.PaymentStatus_PAYMENT_STATUS_CAPTURED:
		return graph.PaymentStateCaptured
	case orderpb.PaymentStatus_PAYMENT_STATUS_VOIDED:
		return graph.PaymentStateVoided
	case orderpb.PaymentStatus_PAYMENT_STATUS_DECLINED:
		return graph.PaymentStateDeclined
	case orderpb.PaymentStatus_PAYMENT_STATUS_PARTIALLY_REFUNDED:
		return graph.PaymentStatePartiallyRefunded
	case orderpb.PaymentStatus_PAYMENT_STATUS_REFUNDED:
		return graph.PaymentStateRefunded
	case orderpb.PaymentStatus_PAYMENT_STATUS_UNSPECIFIED, orderpb.PaymentStatus_PAYMENT_STATUS_NONE:
	}
	return graph.PaymentStateNone
}

func tokensOf(s *auth.Session) *graph.Tokens {
	return &graph.Tokens{AccessToken: s.AccessToken, RefreshToken: s.RefreshToken, ExpiresAt: scalar.DateTime(s.ExpiresAt.UnixMilli())}
}

// rolesOf are the roles of an input, each once.
func rolesOf(in []graph.Role) []accountpb.Role {
	out := make([]accountpb.Role, 0, len(in))
	seen := map[graph.Role]bool{}
	for _, r := range in {
		if seen[r] {
			continue
		}
		seen[r] = true
		switch r {
		case graph.RoleCustomer:
			out = append(out, accountpb.Role_ROLE_CUSTOMER)
		case graph.RoleStaff:
			out = append(out, accountpb.Role_ROLE_STAFF)
		case graph.RoleOperator:
			out = append(out, accountpb.Role_ROLE_OPERATOR)
		}
	}
	return out
}
