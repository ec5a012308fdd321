package shop

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// maxAnswerBytes bounds what is read of one answer.
const maxAnswerBytes = 16 << 20

// retryFor is how long a call is repeated while the server says: later.
const retryFor = 20 * time.Second

// leastDelay is between two tries when the server gives none.
const leastDelay = 50 * time.Millisecond

// Client sends the calls that are not hot: it is an ordinary GraphQL client
// over net/http, which retries with the same input while the server asks it to.
type Client struct {
	// URL is the server's base, without /graphql.
	URL string
	// Token is sent as the access token when not empty.
	Token string
	// APIKey is sent as the API key when not empty.
	APIKey string
	HTTP   *http.Client
	// Renew, if set, gets a new access token when the server says that the one
	// it was sent is good no longer.
	Renew func(ctx context.Context) (string, error)

	// mu guards renewed.
	mu sync.Mutex
	// renewed is used in place of Token once it is set.
	renewed string
}

// token is the newest one.
func (c *Client) token() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.renewed != "" {
		return c.renewed
	}
	return c.Token
}

// renew replaces the token that was refused, unless somebody has already.
func (c *Client) renew(ctx context.Context, refused string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if have := c.renewed; have != "" && have != refused {
		return nil
	}
	token, err := c.Renew(ctx)
	if err != nil {
		return fmt.Errorf("renew the access token: %w", err)
	}
	c.renewed = token
	return nil
}

// Call sends a document, decodes its data into into, and repeats the call while
// the server says: later. A token that has run out is renewed once.
func (c *Client) Call(ctx context.Context, document string, variables map[string]any, into any) error {
	used := c.token()
	err := c.call(ctx, document, variables, into, nil)
	var f *Fault
	if c.Renew == nil || !errors.As(err, &f) || f.Extensions.Code != "UNAUTHENTICATED" {
		return err
	}
	if err := c.renew(ctx, used); err != nil {
		return err
	}
	return c.call(ctx, document, variables, into, nil)
}

// NewClient returns a client of the server at base.
func NewClient(base, token string) *Client {
	return &Client{URL: strings.TrimSuffix(base, "/"), Token: token, HTTP: &http.Client{Timeout: 15 * time.Second}}
}

// NewHTTP returns an HTTP client that keeps so many connections.
func NewHTTP(connections int) *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone() //nolint:forcetypeassert // the standard library's own
	transport.MaxIdleConns, transport.MaxIdleConnsPerHost = connections, connections
	return &http.Client{Timeout: 15 * time.Second, Transport: transport}
}

// errLater is an answer that asks to be asked again.
type errLater struct {
	reason string
	after  time.Duration
}

func (e *errLater) Error() string { return "the server says to try again later: " + e.reason }

// call sends a document, decodes data into into, and asks check (may be nil)
// what the payload says. It repeats the call while the answer is: later.
func (c *Client) call(ctx context.Context, document string, variables map[string]any, into any, check func() error) error {
	body, err := json.Marshal(map[string]any{"query": document, "variables": variables})
	if err != nil {
		return fmt.Errorf("encode the request: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, retryFor)
	defer cancel()
	for {
		err = c.once(ctx, body, into)
		if err == nil && check != nil {
			err = check()
		}
		var later *errLater
		if !errors.As(err, &later) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(max(later.after, leastDelay)):
		}
	}
}

func (c *Client) once(ctx context.Context, body []byte, into any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.URL+"/graphql", bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("content-type", "application/json")
	if c.APIKey != "" {
		request.Header.Set("x-api-key", c.APIKey)
	}
	if token := c.token(); token != "" {
		request.Header.Set("authorization", "Bearer "+token)
	}
	response, err := c.HTTP.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxAnswerBytes))
	if err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	if response.StatusCode == http.StatusServiceUnavailable || response.StatusCode == http.StatusTooManyRequests {
		seconds, _ := strconv.Atoi(response.Header.Get("retry-after")) // absent or a date: no delay is given
		return &errLater{reason: response.Status, after: time.Duration(seconds) * time.Second}
	}
	var e envelope[json.RawMessage]
	if err := json.Unmarshal(answer, &e); err != nil {
		return fmt.Errorf("%s answered %s without GraphQL", c.URL, response.Status)
	}
	if len(e.Errors) > 0 {
		first := e.Errors[0]
		if retryable(first.Extensions.Code) {
			return &errLater{reason: first.Error(), after: milliseconds(first.Extensions.RetryAfterMs)}
		}
		return &first
	}
	return json.Unmarshal(e.Data, into)
}

// userErrors is what every payload has.
type userErrors struct {
	UserErrors []UserError `json:"userErrors"`
}

func (u userErrors) err() error {
	if len(u.UserErrors) == 0 {
		return nil
	}
	first := u.UserErrors[0]
	if retryable(first.Code) {
		return &errLater{reason: first.Code, after: milliseconds(first.RetryAfterMs)}
	}
	return &first
}

const errorFields = ` userErrors{code message field ...on RetryLater{retryAfterMs}}`

// LogIn returns an access token.
func (c *Client) LogIn(ctx context.Context, email, password string) (string, error) {
	return c.session(ctx, "logIn", "LogInInput", map[string]any{"email": email, "password": password})
}

// Register makes an account and returns its access token.
func (c *Client) Register(ctx context.Context, email, password, name string) (string, error) {
	return c.session(ctx, "registerUser", "RegisterUserInput", map[string]any{"email": email, "password": password, "name": name})
}

func (c *Client) session(ctx context.Context, field, inputType string, input map[string]any) (string, error) {
	document := `mutation($input:` + inputType + `!){payload:` + field + `(input:$input){tokens{accessToken}` + errorFields + `}}`
	var data struct {
		Payload struct {
			userErrors
			Tokens *struct {
				AccessToken string `json:"accessToken"`
			} `json:"tokens"`
		} `json:"payload"`
	}
	err := c.call(ctx, document, map[string]any{"input": input}, &data, func() error { return data.Payload.err() })
	if err != nil {
		return "", fmt.Errorf("%s: %w", field, err)
	}
	if data.Payload.Tokens == nil {
		return "", fmt.Errorf("%s: neither tokens nor an error", field)
	}
	return data.Payload.Tokens.AccessToken, nil
}

// Variant is one SKU of a product that is to be made.
type Variant struct {
	SKU        string
	Name       string
	Price      Money
	Attributes map[string]any
	Stock      int
}

// Product is a product that is to be made.
type Product struct {
	Slug        string
	Name        string
	Description string
	ImageURL    string
	Variants    []Variant
}

// CreateProduct makes a published product. The key makes it safe to repeat.
func (c *Client) CreateProduct(ctx context.Context, key string, p Product) error {
	variants := make([]map[string]any, len(p.Variants))
	for i, v := range p.Variants {
		variants[i] = map[string]any{
			"sku": v.SKU, "name": v.Name, "initialStock": v.Stock,
			"price": map[string]any{"amount": v.Price.Amount, "currency": v.Price.Currency},
		}
		if len(v.Attributes) > 0 {
			variants[i]["attributes"] = v.Attributes
		}
	}
	input := map[string]any{
		"idempotencyKey": key, "slug": p.Slug, "name": p.Name, "description": p.Description,
		"published": true, "variants": variants,
	}
	if p.ImageURL != "" {
		input["imageUrl"] = p.ImageURL
	}
	const document = `mutation($input:CreateProductInput!){payload:createProduct(input:$input){product{id}` + errorFields + `}}`
	var data struct {
		Payload userErrors `json:"payload"`
	}
	err := c.call(ctx, document, map[string]any{"input": input}, &data, func() error { return data.Payload.err() })
	if err != nil {
		return fmt.Errorf("create product %s: %w", p.Slug, err)
	}
	return nil
}

// Stock reads the levels of SKUs, by SKU. Those that are not there are absent.
func (c *Client) Stock(ctx context.Context, skus []string) (map[string]Level, error) {
	const document = `query($skus:[String!]!){stock(skus:$skus){sku onHand available held committed unavailable version}}`
	levels := make(map[string]Level, len(skus))
	for len(skus) > 0 {
		part := skus[:min(len(skus), maxStockSKUs)]
		skus = skus[len(part):]
		var data struct {
			Stock []*Level `json:"stock"`
		}
		if err := c.call(ctx, document, map[string]any{"skus": part}, &data, nil); err != nil {
			return nil, fmt.Errorf("read stock: %w", err)
		}
		for _, level := range data.Stock {
			if level != nil {
				levels[level.SKU] = *level
			}
		}
	}
	return levels, nil
}

// maxStockSKUs is how many levels are asked for at once.
const maxStockSKUs = 50

// Slugs lists the slugs of the products in the shop, up to limit.
func (c *Client) Slugs(ctx context.Context, limit int) ([]string, error) {
	const document = `query($first:Int!){products(first:$first){edges{node{slug}}}}`
	var data struct {
		Products struct {
			Edges []struct {
				Node struct {
					Slug string `json:"slug"`
				} `json:"node"`
			} `json:"edges"`
		} `json:"products"`
	}
	if err := c.call(ctx, document, map[string]any{"first": limit}, &data, nil); err != nil {
		return nil, fmt.Errorf("list products: %w", err)
	}
	slugs := make([]string, len(data.Products.Edges))
	for i, edge := range data.Products.Edges {
		slugs[i] = edge.Node.Slug
	}
	return slugs, nil
}
