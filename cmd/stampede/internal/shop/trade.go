package shop

// What shoppers and staff do beyond placing an order: paying, cancelling,
// fulfilling, refunding, and sales with a waiting room.

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// Trade is an order with all that becomes of it.
type Trade struct {
	ID        string        `json:"id"`
	State     string        `json:"state"`
	Version   int64         `json:"version"`
	SaleID    string        `json:"saleId"`
	Total     Money         `json:"total"`
	Lines     []TradeLine   `json:"lines"`
	Payment   Payment       `json:"payment"`
	History   []OrderChange `json:"history"`
	Rejection *UserError    `json:"rejection"`
}

// TradeLine is one line of such an order.
type TradeLine struct {
	SKU        string `json:"sku"`
	Quantity   int    `json:"quantity"`
	UnitPrice  Money  `json:"unitPrice"`
	Fulfilled  int    `json:"fulfilled"`
	Refunded   int    `json:"refunded"`
	SKUVersion int64  `json:"skuVersion"`
}

// Payment is an order's money.
type Payment struct {
	State      string `json:"state"`
	Authorized *Money `json:"authorized"`
	Captured   *Money `json:"captured"`
	Refunded   *Money `json:"refunded"`
}

// OrderChange is one step of an order's history.
type OrderChange struct {
	Version int64  `json:"version"`
	State   string `json:"state"`
}

// LineQuantity is so many units of a SKU.
type LineQuantity struct {
	SKU      string `json:"sku"`
	Quantity int    `json:"quantity"`
}

// Ticket is a place in a waiting room.
type Ticket struct {
	ID             string `json:"id"`
	Position       int    `json:"position"`
	PollAfterMs    int64  `json:"pollAfterMs"`
	AdmissionToken string `json:"admissionToken"`
}

// Sale is a sale as the API shows it.
type Sale struct {
	ID                  string     `json:"id"`
	State               string     `json:"state"`
	StartsAt            time.Time  `json:"startsAt"`
	Version             int64      `json:"version"`
	ShuffleCommitment   string     `json:"shuffleCommitment"`
	ShuffleSecret       string     `json:"shuffleSecret"`
	JoinedBeforeOpening *int       `json:"joinedBeforeOpening"`
	Items               []SaleItem `json:"items"`
}

// SaleItem is what a sale has of a SKU.
type SaleItem struct {
	Variant struct {
		SKU string `json:"sku"`
	} `json:"variant"`
	Allocation int `json:"allocation"`
	Remaining  int `json:"remaining"`
}

const (
	moneyFields = `{amount currency}`
	tradeFields = `id state version saleId total` + moneyFields + ` lines{sku quantity unitPrice` + moneyFields +
		` fulfilled refunded skuVersion} payment{state authorized` + moneyFields + ` captured` + moneyFields + ` refunded` + moneyFields +
		`} history{version state} rejection{code message}`
	ticketFields = `id position pollAfterMs admissionToken`
	saleFields   = `id state startsAt version shuffleCommitment shuffleSecret joinedBeforeOpening items{variant{sku} allocation remaining}`

	tradeDocument  = `query Trade($id:ID!){payload:order(id:$id){` + tradeFields + `}}`
	ticketDocument = `query Ticket($id:ID!){payload:ticket(id:$id){` + ticketFields + `}}`
	joinDocument   = `mutation Join($input:JoinSaleInput!){payload:joinSale(input:$input){ticket{` + ticketFields + `}` + errorFields + `}}`
)

// changeDocument is the mutation that answers with an order.
func changeDocument(field, inputType string) string {
	return `mutation($input:` + inputType + `!){payload:` + field + `(input:$input){order{` + tradeFields + `}` + errorFields + `}}`
}

// PlaceOrderInput is the input of placeOrder.
type PlaceOrderInput struct {
	IdempotencyKey string         `json:"idempotencyKey"`
	Lines          []LineQuantity `json:"lines"`
	SaleID         string         `json:"saleId,omitempty"`
	AdmissionToken string         `json:"admissionToken,omitempty"`
	PaymentToken   string         `json:"paymentToken,omitempty"`
}

// PlaceOrder is the request that places an order.
func PlaceOrder(in PlaceOrderInput) []byte {
	return request(changeDocument("placeOrder", "PlaceOrderInput"), in)
}

// PayOrder is the request that pays an order.
func PayOrder(key, orderID, paymentToken string) []byte {
	return request(changeDocument("payOrder", "PayOrderInput"), map[string]any{"idempotencyKey": key, "orderId": orderID, "paymentToken": paymentToken})
}

// CancelOrder is the request that cancels an order.
func CancelOrder(orderID, reason string) []byte {
	return request(changeDocument("cancelOrder", "CancelOrderInput"), map[string]any{"orderId": orderID, "reason": reason})
}

// FulfilOrder is the staff's request that lets units leave the building.
func FulfilOrder(key, orderID string, lines []LineQuantity) []byte {
	return request(changeDocument("fulfilOrder", "FulfilOrderInput"), map[string]any{"idempotencyKey": key, "orderId": orderID, "lines": lines})
}

// RefundOrder is the staff's request that gives money back.
func RefundOrder(key, orderID string, lines []LineQuantity, restock bool) []byte {
	return request(changeDocument("refundOrder", "RefundOrderInput"), map[string]any{"idempotencyKey": key, "orderId": orderID, "lines": lines, "restock": restock})
}

// JoinSale is the request for a place in a waiting room.
func JoinSale(saleID string) []byte { return request(joinDocument, map[string]any{"saleId": saleID}) }

// ReadTrade is the request that reads an order.
func ReadTrade(id string) []byte { return encode(tradeDocument, map[string]any{"id": id}) }

// ReadTicket is the request that polls a ticket.
func ReadTicket(id string) []byte { return encode(ticketDocument, map[string]any{"id": id}) }

func request(document string, input any) []byte {
	return encode(document, map[string]any{"input": input})
}

func encode(document string, variables map[string]any) []byte {
	body, err := json.Marshal(map[string]any{"query": document, "variables": variables})
	if err != nil {
		panic("strings and numbers are always valid JSON: " + err.Error())
	}
	return body
}

// JudgeTrade reads the answer to what is done to an order, into found. It is
// Accepted when it was done, Refused with the error's code when it was not, and
// then found may hold the order as it stands.
func JudgeTrade(found **Trade) func(int, time.Duration, []byte) Answer {
	return func(status int, after time.Duration, body []byte) Answer {
		var e envelope[struct {
			Payload *struct {
				userErrors
				Order *Trade `json:"order"`
			} `json:"payload"`
		}]
		*found = nil
		if answer, done := judgeTransport(status, after, body, &e, &e.Errors); done {
			return answer
		}
		if e.Data.Payload == nil {
			return Answer{Kind: Failed, Reason: "answer without a payload"}
		}
		*found = e.Data.Payload.Order
		return judgeTrade(e.Data.Payload.UserErrors, *found)
	}
}

func judgeTrade(errors []UserError, order *Trade) Answer {
	switch {
	case len(errors) > 0 && retryable(errors[0].Code):
		return Answer{Kind: Retry, Reason: errors[0].Code, After: milliseconds(errors[0].RetryAfterMs)}
	case len(errors) > 0:
		return Answer{Kind: Refused, Reason: errors[0].Code}
	case order == nil:
		return Answer{Kind: Failed, Reason: "neither an order nor an error"}
	case order.State == "REJECTED" && order.Rejection != nil:
		return Answer{Kind: Refused, Reason: order.Rejection.Code}
	case order.State == "RESERVING" || order.State == "PAYING" && order.Payment.State != "REQUIRES_ACTION":
		return Answer{Kind: Retry, Reason: "IN_PROGRESS"}
	}
	return Answer{Kind: Accepted}
}

// JudgeRead reads the answer to a query for one thing, into found: nil and a
// refusal with the reason NOT_FOUND when it is not there.
func JudgeRead[T any](found **T) func(int, time.Duration, []byte) Answer {
	return func(status int, after time.Duration, body []byte) Answer {
		var e envelope[struct {
			Payload *T `json:"payload"`
		}]
		*found = nil
		if answer, done := judgeTransport(status, after, body, &e, &e.Errors); done {
			return answer
		}
		if *found = e.Data.Payload; *found == nil {
			return Answer{Kind: Refused, Reason: "NOT_FOUND"}
		}
		return Answer{Kind: Accepted}
	}
}

// JudgeJoin reads the answer to JoinSale, into found.
func JudgeJoin(found **Ticket) func(int, time.Duration, []byte) Answer {
	return func(status int, after time.Duration, body []byte) Answer {
		var e envelope[struct {
			Payload *struct {
				userErrors
				Ticket *Ticket `json:"ticket"`
			} `json:"payload"`
		}]
		*found = nil
		if answer, done := judgeTransport(status, after, body, &e, &e.Errors); done {
			return answer
		}
		switch p := e.Data.Payload; {
		case p == nil:
			return Answer{Kind: Failed, Reason: "answer without a payload"}
		case len(p.UserErrors) > 0 && retryable(p.UserErrors[0].Code):
			return Answer{Kind: Retry, Reason: p.UserErrors[0].Code, After: milliseconds(p.UserErrors[0].RetryAfterMs)}
		case len(p.UserErrors) > 0:
			return Answer{Kind: Refused, Reason: p.UserErrors[0].Code}
		case p.Ticket == nil:
			return Answer{Kind: Failed, Reason: "neither a ticket nor an error"}
		default:
			*found = p.Ticket
			return Answer{Kind: Accepted}
		}
	}
}

// NewSale is a sale that is to be made.
type NewSale struct {
	Key, Name        string
	StartsAt, EndsAt time.Time
	PerCustomerLimit int    // 0: none
	Admission        string // the API's AdmissionPolicy
	AdmitPerSecond   int    // 0: not said
	Price            Money
	Allocation       map[string]int // by SKU
	SKUs             []string       // in this order
}

// CreateSale makes a sale.
func (c *Client) CreateSale(ctx context.Context, n NewSale) (*Sale, error) {
	input := map[string]any{
		"idempotencyKey": n.Key, "name": n.Name, "startsAt": stamp(n.StartsAt), "endsAt": stamp(n.EndsAt), "admission": n.Admission,
	}
	if n.PerCustomerLimit > 0 {
		input["perCustomerLimit"] = n.PerCustomerLimit
	}
	if n.AdmitPerSecond > 0 {
		input["admitPerSecond"] = n.AdmitPerSecond
	}
	items := make([]map[string]any, len(n.SKUs))
	for i, sku := range n.SKUs {
		items[i] = map[string]any{"sku": sku, "allocation": n.Allocation[sku], "salePrice": n.Price}
	}
	input["items"] = items
	return c.changeSale(ctx, "createSale", "CreateSaleInput", input)
}

// OpenSale moves a sale's start.
func (c *Client) OpenSale(ctx context.Context, id string, at time.Time) (*Sale, error) {
	return c.changeSale(ctx, "controlSale", "ControlSaleInput", map[string]any{"id": id, "startsAt": stamp(at)})
}

func (c *Client) changeSale(ctx context.Context, field, inputType string, input map[string]any) (*Sale, error) {
	document := `mutation($input:` + inputType + `!){payload:` + field + `(input:$input){sale{` + saleFields + `}` + errorFields + `}}`
	var data struct {
		Payload struct {
			userErrors
			Sale *Sale `json:"sale"`
		} `json:"payload"`
	}
	err := c.call(ctx, document, map[string]any{"input": input}, &data, func() error { return data.Payload.err() })
	if err != nil {
		return nil, fmt.Errorf("%s: %w", field, err)
	}
	if data.Payload.Sale == nil {
		return nil, fmt.Errorf("%s: neither a sale nor an error", field)
	}
	return data.Payload.Sale, nil
}

// Sale reads a sale.
func (c *Client) Sale(ctx context.Context, id string) (*Sale, error) {
	var data struct {
		Sale *Sale `json:"sale"`
	}
	if err := c.call(ctx, `query($id:ID!){sale(id:$id){`+saleFields+`}}`, map[string]any{"id": id}, &data, nil); err != nil {
		return nil, fmt.Errorf("read sale %s: %w", id, err)
	}
	if data.Sale == nil {
		return nil, fmt.Errorf("sale %s is not there", id)
	}
	return data.Sale, nil
}

// stamp is a moment as the API takes it.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }
