package views

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"

	"stampede/actors/apikey"
	"stampede/actors/order"
	"stampede/actors/product"
	"stampede/actors/roster"
	"stampede/actors/sale"
	"stampede/persistence"
	"stampede/proto/gen/accountpb"
	"stampede/proto/gen/apikeypb"
	"stampede/proto/gen/orderpb"
	"stampede/proto/gen/productpb"
	"stampede/proto/gen/salepb"
	"stampede/proto/gen/skupb"
)

// aggregate is what a row is made of: it takes events and can be written down.
type aggregate interface {
	// apply takes the event that makes version, and returns when it happened.
	apply(event []byte, version uint64) (atMs int64, err error)
	// row fills in Owner, State, SortMs and Body.
	row(r *persistence.Row) error
}

// kind makes the aggregates of one kind: of nothing, and of a row's body.
type kind struct {
	empty   func(id string) aggregate
	restore func(id string, body []byte) (aggregate, error)
}

// unlisted reports whether a kind's actors are in no list and have no deadline,
// so that they need no row: the one roster is asked itself.
func unlisted(kind string) bool { return kind == roster.Name }

func kinds() map[string]kind {
	return map[string]kind{
		"order": {
			empty: func(id string) aggregate { return &orderRow{state: order.New(id)} },
			restore: func(id string, body []byte) (aggregate, error) {
				s, err := order.Restore(id, body)
				return &orderRow{state: s}, err
			},
		},
		"product": {
			empty: func(id string) aggregate { return &productRow{state: product.New(id)} },
			restore: func(id string, body []byte) (aggregate, error) {
				s, err := product.Restore(id, body)
				return &productRow{state: s}, err
			},
		},
		"account": {
			empty: func(id string) aggregate { return &accountRow{user: &accountpb.User{Id: id}} },
			restore: func(_ string, body []byte) (aggregate, error) {
				a := &accountRow{user: &accountpb.User{}}
				return a, proto.Unmarshal(body, a.user)
			},
		},
		"apikey": {
			empty: func(id string) aggregate { return &apiKeyRow{state: apikey.New(id)} },
			restore: func(id string, body []byte) (aggregate, error) {
				key := &apikeypb.Key{}
				if err := proto.Unmarshal(body, key); err != nil {
					return nil, err
				}
				state, err := proto.Marshal(&apikeypb.State{Key: key})
				if err != nil {
					return nil, err
				}
				s, err := apikey.Restore(id, state)
				return &apiKeyRow{state: s}, err
			},
		},
		"sale": {
			empty: func(id string) aggregate { return &saleRow{state: sale.NewFold(id)} },
			restore: func(id string, body []byte) (aggregate, error) {
				s, err := sale.RestoreFold(id, body)
				return &saleRow{state: s}, err
			},
		},
		"sku": {
			empty: func(id string) aggregate { return &skuRow{level: &skupb.Level{Sku: id}} },
			restore: func(_ string, body []byte) (aggregate, error) {
				a := &skuRow{level: &skupb.Level{}}
				return a, proto.Unmarshal(body, a.level)
			},
		},
	}
}

// orderRow folds as the order itself does; its body is the order's snapshot.
type orderRow struct{ state *order.State }

func (a *orderRow) apply(event []byte, _ uint64) (int64, error) {
	var e orderpb.Event
	if err := proto.Unmarshal(event, &e); err != nil {
		return 0, err
	}
	order.Evolve(a.state, &e)
	return e.AtMs, nil
}

func (a *orderRow) row(r *persistence.Row) error {
	o, ok := order.Snapshot(a.state).(*orderpb.Order)
	if !ok {
		return fmt.Errorf("snapshot of order %s is no order", r.ID)
	}
	r.Owner, r.State, r.SortMs = o.CustomerId, strings.TrimPrefix(o.Status.String(), "STATUS_"), o.PlacedAtMs
	return body(r, o)
}

// productRow folds as the product itself does; its body is its snapshot.
type productRow struct{ state *product.State }

func (a *productRow) apply(event []byte, _ uint64) (int64, error) {
	var e productpb.Event
	if err := proto.Unmarshal(event, &e); err != nil {
		return 0, err
	}
	product.Evolve(a.state, &e)
	return e.AtMs, nil
}

func (a *productRow) row(r *persistence.Row) error {
	p, ok := product.Snapshot(a.state).(*productpb.Product)
	if !ok {
		return fmt.Errorf("snapshot of product %s is no product", r.ID)
	}
	r.SortMs, r.State, r.Tracked = p.CreatedAtMs, "unpublished", true
	if p.Published {
		r.State = "published"
	}
	return body(r, p)
}

// saleRow folds as the sale itself does, but for who waits; its body is that
// much of the sale's snapshot. A sale that nobody is to see has no state.
type saleRow struct{ state *sale.State }

func (a *saleRow) apply(event []byte, _ uint64) (int64, error) {
	var e salepb.Event
	if err := proto.Unmarshal(event, &e); err != nil {
		return 0, err
	}
	sale.Evolve(a.state, &e)
	return e.AtMs, nil
}

func (a *saleRow) row(r *persistence.Row) error {
	r.State, r.SortMs = a.state.StatusName(), a.state.CreatedAtMs()
	return body(r, sale.Snapshot(a.state))
}

// accountRow keeps what others may see of an account: no password, no session.
type accountRow struct{ user *accountpb.User }

func (a *accountRow) apply(event []byte, version uint64) (int64, error) {
	var e accountpb.Event
	if err := proto.Unmarshal(event, &e); err != nil {
		return 0, err
	}
	switch x := e.Event.(type) {
	case *accountpb.Event_Registered:
		a.user.Email, a.user.Name, a.user.Roles, a.user.CreatedAtMs = x.Registered.GetEmail(), x.Registered.GetName(), x.Registered.GetRoles(), e.AtMs
	case *accountpb.Event_ProfileUpdated:
		a.user.Name = x.ProfileUpdated.GetName()
	case *accountpb.Event_RolesChanged:
		a.user.Roles = x.RolesChanged.GetRoles()
	}
	a.user.Version = int64(version)
	return e.AtMs, nil
}

func (a *accountRow) row(r *persistence.Row) error {
	r.SortMs = a.user.CreatedAtMs
	return body(r, a.user)
}

// apiKeyRow keeps what operators may see of a key: not its secret's hash.
type apiKeyRow struct{ state *apikey.State }

func (a *apiKeyRow) apply(event []byte, _ uint64) (int64, error) {
	var e apikeypb.Event
	if err := proto.Unmarshal(event, &e); err != nil {
		return 0, err
	}
	apikey.Evolve(a.state, &e)
	return e.AtMs, nil
}

func (a *apiKeyRow) row(r *persistence.Row) error {
	key := a.state.Key()
	r.SortMs, r.State = key.GetCreatedAtMs(), "active"
	if key.GetRevokedAtMs() != 0 {
		r.State = "revoked"
	}
	return body(r, key)
}

// skuRow needs no fold of the stock: every event says what it left behind.
type skuRow struct{ level *skupb.Level }

func (a *skuRow) apply(event []byte, version uint64) (int64, error) {
	var e skupb.Event
	if err := proto.Unmarshal(event, &e); err != nil {
		return 0, err
	}
	l := a.level
	switch x := e.Event.(type) {
	case *skupb.Event_Configured:
		c := x.Configured
		l.ProductId, l.Name, l.Price, l.Active = c.GetProductId(), c.GetName(), c.GetPrice(), c.GetActive()
	case *skupb.Event_Unconfigured:
		l.ProductId, l.Name, l.Price, l.Active = "", "", nil, false
	}
	l.Stock, l.Version, l.AsOfMs = e.After, int64(version), e.AtMs
	return e.AtMs, nil
}

func (a *skuRow) row(r *persistence.Row) error { return body(r, a.level) }

func body(r *persistence.Row, m proto.Message) (err error) {
	r.Body, err = proto.Marshal(m)
	return err
}
