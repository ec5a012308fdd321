package e2e

// What the tests say to the shop, in its own words.

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"
)

type money struct{ Amount, Currency string }

type order struct {
	ID        string
	Number    string
	State     string
	Payment   payment
	Lines     []orderLine
	Total     money
	PlacedAt  time.Time
	ExpiresAt *time.Time
	Rejection *userError
	History   []struct {
		Version int
		State   string
		At      time.Time
	}
	AllowedTransitions []string
	Version            int
}

type payment struct {
	State      string
	Authorized *money
	Captured   *money
	Provider   *string
	Reference  *string
}

type orderLine struct {
	SKU        string
	Name       string
	Quantity   int
	UnitPrice  money
	Fulfilled  int
	Refunded   int
	SKUVersion *int64
}

const orderFields = `id number state payment{state authorized{amount currency} captured{amount currency} provider reference}
	lines{sku name quantity unitPrice{amount currency} fulfilled refunded skuVersion} total{amount currency}
	placedAt expiresAt rejection` + errorFields + ` history{version state at} allowedTransitions version`

type level struct {
	SKU         string
	OnHand      int
	Available   int
	Held        int
	Committed   int
	Unavailable int
	Version     int64
	AsOf        time.Time
}

const levelFields = `sku onHand available held committed unavailable version asOf`

type want struct {
	sku   string
	units int
}

type orderPayload struct{ Order *order }

// place asks for the units, once. A rejected order comes with its refusal.
func (c *client) place(ctx context.Context, key, paymentToken string, wants ...want) (*order, error) {
	lines := make([]map[string]any, len(wants))
	for i, w := range wants {
		lines[i] = map[string]any{"sku": w.sku, "quantity": w.units}
	}
	input := map[string]any{"idempotencyKey": key, "lines": lines}
	if paymentToken != "" {
		input["paymentToken"] = paymentToken
	}
	var payload orderPayload
	err := c.mutate(ctx, "placeOrder", "PlaceOrderInput", "order{"+orderFields+"}", input, &payload)
	if err == nil && payload.Order.State == "RESERVING" {
		err = fmt.Errorf("%w: still reserving", errUnknown)
	}
	return payload.Order, err
}

func (c *client) pay(ctx context.Context, key, orderID, token string) (*order, error) {
	var payload orderPayload
	input := map[string]any{"idempotencyKey": key, "orderId": orderID, "paymentToken": token}
	err := c.mutate(ctx, "payOrder", "PayOrderInput", "order{"+orderFields+"}", input, &payload)
	return payload.Order, err
}

func (c *client) cancel(ctx context.Context, orderID string) (*order, error) {
	var payload orderPayload
	err := c.mutate(ctx, "cancelOrder", "CancelOrderInput", "order{"+orderFields+"}", map[string]any{"orderId": orderID, "reason": "changed my mind"}, &payload)
	return payload.Order, err
}

// order reads one, nil if there is none.
func (c *client) order(ctx context.Context, id string) (*order, error) {
	var data struct{ Order *order }
	err := c.ask(ctx, `query Q($id:ID!){order(id:$id){`+orderFields+`}}`, map[string]any{"id": id}, &data)
	return data.Order, err
}

// listed is an order as lists are compared by.
type listed struct{ ID, State string }

// orders reads the staff's whole list, in pages.
func (c *client) orders(ctx context.Context, first int) ([]listed, error) {
	var all []listed
	var after *string
	for {
		var data struct {
			Orders struct {
				Edges    []struct{ Node listed }
				PageInfo struct {
					HasNextPage bool
					EndCursor   *string
				}
			}
		}
		document := `query Q($first:Int,$after:String){orders(first:$first,after:$after){edges{node{id state}} pageInfo{hasNextPage endCursor}}}`
		if err := c.ask(ctx, document, map[string]any{"first": first, "after": after}, &data); err != nil {
			return nil, err
		}
		for _, e := range data.Orders.Edges {
			all = append(all, e.Node)
		}
		if !data.Orders.PageInfo.HasNextPage {
			return all, nil
		}
		after = data.Orders.PageInfo.EndCursor
	}
}

// stock reads the levels of SKUs; nil stands for one that is not there.
func (c *client) stock(ctx context.Context, skus ...string) ([]*level, error) {
	var data struct{ Stock []*level }
	err := c.ask(ctx, `query Q($skus:[String!]!){stock(skus:$skus){`+levelFields+`}}`, map[string]any{"skus": skus}, &data)
	return data.Stock, err
}

// tokens are a session.
type tokens struct {
	AccessToken  string
	RefreshToken string
	ExpiresAt    time.Time
}

type user struct {
	ID    string
	Email string
	Name  *string
	Roles []string
}

type session struct {
	User   *user
	Tokens *tokens
}

const sessionFields = `user{id email name roles} tokens{accessToken refreshToken expiresAt}`

func (c *client) register(ctx context.Context, email, password string) (s session, err error) {
	return s, c.mutate(ctx, "registerUser", "RegisterUserInput", sessionFields, map[string]any{"email": email, "password": password, "name": "A Shopper"}, &s)
}

func (c *client) logIn(ctx context.Context, email, password string) (s session, err error) {
	return s, c.mutate(ctx, "logIn", "LogInInput", sessionFields, map[string]any{"email": email, "password": password}, &s)
}

func (c *client) refresh(ctx context.Context, refreshToken string) (s session, err error) {
	return s, c.mutate(ctx, "refreshTokens", "RefreshTokensInput", sessionFields, map[string]any{"refreshToken": refreshToken}, &s)
}

type product struct {
	ID        string
	Slug      string
	Name      string
	Published bool
	Version   int
	Variants  []struct {
		SKU   string
		Price money
		Stock level
	}
}

const productFields = `id slug name published version variants{sku price{amount currency} stock{` + levelFields + `}}`

// variant is a SKU that is to be made.
type variant struct {
	sku   string
	price string
	stock int
}

func (c *client) createProduct(ctx context.Context, key, slug string, variants ...variant) (*product, error) {
	list := make([]map[string]any, len(variants))
	for i, v := range variants {
		list[i] = map[string]any{
			"sku": v.sku, "name": "Variant " + v.sku, "initialStock": v.stock,
			"price": map[string]any{"amount": v.price, "currency": "EUR"}, "attributes": map[string]any{"size": i},
		}
	}
	var payload struct{ Product *product }
	input := map[string]any{"idempotencyKey": key, "slug": slug, "name": "Product " + slug, "description": "As seen in a test", "variants": list}
	err := c.mutate(ctx, "createProduct", "CreateProductInput", "product{"+productFields+"}", input, &payload)
	return payload.Product, err
}

// shop is an opened one: an operator, and customers who have registered.
type shop struct {
	at       *address
	operator *client
	// customers have connections of their own. Several clients may be one
	// customer: that costs fewer password hashes.
	customers []*client
}

// openShop logs the operator in, registers customers, and makes a
// product of the variants if there are any.
func openShop(t testing.TB, s *server, customers int, variants ...variant) *shop {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	sh := &shop{at: &address{}}
	sh.at.set(s)
	sh.operator = newClient(sh.at, "")
	in, err := settle(ctx, func() (session, error) { return sh.operator.logIn(ctx, operatorEmail, operatorPassword) })
	if err != nil {
		t.Fatalf("operator's log-in: %v", err)
	}
	sh.operator.token = in.Tokens.AccessToken
	for i := range customers {
		c := newClient(sh.at, "")
		in, err := settle(ctx, func() (session, error) {
			return c.register(ctx, "shopper"+strconv.Itoa(i)+"@mail.test", "nine noisy newts")
		})
		if err != nil {
			t.Fatalf("registering: %v", err)
		}
		c.token = in.Tokens.AccessToken
		sh.customers = append(sh.customers, c)
	}
	if len(variants) > 0 {
		sh.addProduct(t, "everything", variants...)
	}
	return sh
}

func (sh *shop) addProduct(t testing.TB, slug string, variants ...variant) *product {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	p, err := settle(ctx, func() (*product, error) { return sh.operator.createProduct(ctx, slug, slug, variants...) })
	if err != nil {
		t.Fatalf("creating a product: %v", err)
	}
	return p
}

// level is the stock of one SKU, which must be conserved.
func (sh *shop) level(t testing.TB, sku string) *level {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	levels, err := settle(ctx, func() ([]*level, error) { return sh.operator.stock(ctx, sku) })
	if err != nil {
		t.Fatalf("reading stock: %v", err)
	}
	if len(levels) != 1 || levels[0] == nil {
		t.Fatalf("stock of %s: %v", sku, levels)
	}
	if err := levels[0].conserved(); err != nil {
		t.Error(err)
	}
	return levels[0]
}

// conserved: the four states are the whole, and none is below nothing.
func (l *level) conserved() error {
	if l.OnHand != l.Available+l.Held+l.Committed+l.Unavailable || min(l.Available, l.Held, l.Committed, l.Unavailable) < 0 {
		return fmt.Errorf("stock is not conserved: %+v", *l)
	}
	return nil
}
