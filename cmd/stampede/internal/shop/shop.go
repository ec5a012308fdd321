// Package shop is Stampede's public API as its users see it: the documents that
// the demo, the load generator and the sample catalogue send, what comes back,
// and a plain client. It knows the contract only, nothing of the server.
package shop

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

// Money is an amount as the API shows it.
type Money struct {
	Amount   string `json:"amount"`
	Currency string `json:"currency"`
}

// Line is one line of an order.
type Line struct {
	SKU        string `json:"sku"`
	Quantity   int    `json:"quantity"`
	UnitPrice  Money  `json:"unitPrice"`
	SKUVersion int64  `json:"skuVersion"`
}

// Order is what a shopper is told about an order.
type Order struct {
	ID        string     `json:"id"`
	Number    string     `json:"number"`
	State     string     `json:"state"`
	Total     Money      `json:"total"`
	Lines     []Line     `json:"lines"`
	Rejection *UserError `json:"rejection"`
}

// Level is the stock of a SKU.
type Level struct {
	SKU         string `json:"sku"`
	OnHand      int    `json:"onHand"`
	Available   int    `json:"available"`
	Held        int    `json:"held"`
	Committed   int    `json:"committed"`
	Unavailable int    `json:"unavailable"`
	Version     int64  `json:"version"`
}

// UserError is a business outcome that is not what was asked for.
type UserError struct {
	Code         string   `json:"code"`
	Message      string   `json:"message"`
	Field        []string `json:"field"`
	RetryAfterMs int64    `json:"retryAfterMs"`
}

// Error makes it an error.
func (e *UserError) Error() string {
	if len(e.Field) == 0 {
		return e.Code + ": " + e.Message
	}
	return fmt.Sprintf("%s: %v: %s", e.Code, e.Field, e.Message)
}

// Fault is a top-level GraphQL error: syntax, authentication, throttling, or a
// fault of the server.
type Fault struct {
	Message    string `json:"message"`
	Extensions struct {
		Code         string `json:"code"`
		RetryAfterMs int64  `json:"retryAfterMs"`
	} `json:"extensions"`
}

// Error makes it an error.
func (f *Fault) Error() string { return f.Extensions.Code + ": " + f.Message }

const orderFields = `id number state total{amount currency} lines{sku quantity unitPrice{amount currency} skuVersion} rejection{code message}`

// The documents of the hot paths are constants, so that the server can keep
// them parsed.
const (
	placeOrderDocument = `mutation PlaceOrder($input:PlaceOrderInput!){placeOrder(input:$input){order{` + orderFields +
		`} userErrors{code message field ...on RetryLater{retryAfterMs}}}}`
	orderDocument   = `query Order($id:ID!){order(id:$id){` + orderFields + `}}`
	catalogDocument = `query Catalogue{products(first:20){edges{node{slug name imageUrl variants{sku price{amount currency}}}} pageInfo{hasNextPage endCursor}}}`
)

// AppendPlaceOrder appends the request that orders one SKU. The key is the
// shopper's: sent again with the same one, it is the same order.
func AppendPlaceOrder(dst []byte, key, sku string, quantity int) []byte {
	return append(appendLines(dst, key, sku, quantity), `}}}`...)
}

// AppendPaidOrder appends the request that orders one SKU and pays in one call.
func AppendPaidOrder(dst []byte, key, sku string, quantity int, paymentToken string) []byte {
	dst = append(appendLines(dst, key, sku, quantity), `,"paymentToken":`...)
	return append(appendJSON(dst, paymentToken), `}}}`...)
}

// AppendSaleOrder appends the request that orders one SKU in a sale without a
// waiting room.
func AppendSaleOrder(dst []byte, key, sku string, quantity int, saleID string) []byte {
	dst = append(appendLines(dst, key, sku, quantity), `,"saleId":`...)
	return append(appendJSON(dst, saleID), `}}}`...)
}

// appendLines appends all of an order's request that comes before its end.
func appendLines(dst []byte, key, sku string, quantity int) []byte {
	dst = append(dst, `{"query":`...)
	dst = appendJSON(dst, placeOrderDocument)
	dst = append(dst, `,"variables":{"input":{"idempotencyKey":`...)
	dst = appendJSON(dst, key)
	dst = append(dst, `,"lines":[{"sku":`...)
	dst = appendJSON(dst, sku)
	dst = append(dst, `,"quantity":`...)
	dst = strconv.AppendInt(dst, int64(quantity), 10)
	return append(dst, `}]`...)
}

// AppendOrder appends the request that reads an order back.
func AppendOrder(dst []byte, id string) []byte {
	dst = append(dst, `{"query":`...)
	dst = appendJSON(dst, orderDocument)
	dst = append(dst, `,"variables":{"id":`...)
	dst = appendJSON(dst, id)
	return append(dst, `}}`...)
}

// AppendCatalogue appends the request for the first page of the product list.
func AppendCatalogue(dst []byte) []byte {
	dst = append(dst, `{"query":`...)
	dst = appendJSON(dst, catalogDocument)
	return append(dst, '}')
}

// appendJSON appends a string as JSON. Strings that need no escaping, which
// are all of the hot ones, cost no allocation.
func appendJSON(dst []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= 0x7f {
			quoted, err := json.Marshal(s)
			if err != nil {
				panic("a string is always valid JSON: " + err.Error())
			}
			return append(dst, quoted...)
		}
	}
	dst = append(dst, '"')
	dst = append(dst, s...)
	return append(dst, '"')
}

// Answer is what one request came to.
type Answer struct {
	Kind Kind
	// Reason is the ErrorCode of a refusal, or what failed.
	Reason string
	// After is how long to wait before asking again; 0: the server did not say.
	After time.Duration
	Order *Order
}

// Kind sorts answers by what a shopper does next.
type Kind int

const (
	// Accepted: the request did what was asked.
	Accepted Kind = iota
	// Refused: a decision; asking again gives the same answer.
	Refused
	// Retry: nothing was decided, or it is not known yet; ask again with the same key.
	Retry
	// Failed: the request itself is wrong.
	Failed
)

type envelope[T any] struct {
	Data   T       `json:"data"`
	Errors []Fault `json:"errors"`
}

type placed struct {
	PlaceOrder *struct {
		Order      *Order      `json:"order"`
		UserErrors []UserError `json:"userErrors"`
	} `json:"placeOrder"`
}

// JudgePlaceOrder reads the answer to AppendPlaceOrder.
func JudgePlaceOrder(status int, after time.Duration, body []byte) Answer {
	var e envelope[placed]
	if answer, done := judgeTransport(status, after, body, &e, &e.Errors); done {
		return answer
	}
	payload := e.Data.PlaceOrder
	if payload == nil {
		return Answer{Kind: Failed, Reason: "answer without a payload"}
	}
	if len(payload.UserErrors) > 0 {
		first := payload.UserErrors[0]
		if retryable(first.Code) {
			return Answer{Kind: Retry, Reason: first.Code, After: milliseconds(first.RetryAfterMs)}
		}
		return Answer{Kind: Refused, Reason: first.Code, Order: payload.Order}
	}
	order := payload.Order
	switch {
	case order == nil:
		return Answer{Kind: Failed, Reason: "neither an order nor an error"}
	case order.State == "RESERVING":
		return Answer{Kind: Retry, Reason: "IN_PROGRESS"}
	case order.State == "REJECTED" && order.Rejection != nil:
		return Answer{Kind: Refused, Reason: order.Rejection.Code, Order: order}
	case order.State != "RESERVED":
		return Answer{Kind: Refused, Reason: order.State, Order: order}
	}
	return Answer{Kind: Accepted, Order: order}
}

// JudgePlaced is JudgePlaceOrder for load whose orders nobody looks at: an
// order that holds its stock is recognised without being decoded, so that the
// generator leaves more of the machine to what it measures.
func JudgePlaced(status int, after time.Duration, body []byte) Answer {
	if status == 200 && PlacedAtAGlance(body) {
		return Answer{Kind: Accepted}
	}
	return JudgePlaceOrder(status, after, body)
}

// PlacedAtAGlance reports an answer to AppendPlaceOrder whose order holds its
// stock, as the gateway writes it. False says nothing.
func PlacedAtAGlance(body []byte) bool {
	if !bytes.HasPrefix(body, []byte(placedPrefix)) {
		return false
	}
	end := bytes.LastIndex(body, []byte(placedEnd))
	if end < 0 || !bytes.Contains(body[:end], []byte(placedState)) {
		return false
	}
	rest := body[end+len(placedEnd):]
	return string(rest) == "}" || bytes.HasPrefix(rest, []byte(`,"extensions":{"cost":`))
}

// What an answer to AppendPlaceOrder begins with and has, and what its data end
// with, when the order holds its stock.
const (
	placedPrefix = `{"data":{"placeOrder":{"order":{"id":"`
	placedState  = `","state":"RESERVED","total":{"amount":`
	placedEnd    = `"rejection":null},"userErrors":[]}}`
)

// JudgePaid reads the answer to AppendPaidOrder: an order that is not paid, or
// not known to be, is not accepted.
func JudgePaid(status int, after time.Duration, body []byte) Answer {
	answer := JudgePlaceOrder(status, after, body)
	switch {
	case answer.Kind == Refused && answer.Reason == "CONFIRMED":
		answer.Kind, answer.Reason = Accepted, ""
	case answer.Kind == Refused && answer.Reason == "PAYING":
		return Answer{Kind: Retry, Reason: "IN_PROGRESS"}
	case answer.Kind == Accepted:
		answer.Kind, answer.Reason = Refused, answer.Order.State
	}
	return answer
}

// JudgeOrder reads the answer to AppendOrder. An order that is not there is a
// refusal with the reason NOT_FOUND.
func JudgeOrder(status int, after time.Duration, body []byte) Answer {
	var e envelope[struct {
		Order *Order `json:"order"`
	}]
	if answer, done := judgeTransport(status, after, body, &e, &e.Errors); done {
		return answer
	}
	if e.Data.Order == nil {
		return Answer{Kind: Refused, Reason: "NOT_FOUND"}
	}
	return Answer{Kind: Accepted, Order: e.Data.Order}
}

// JudgeCatalogue reads the answer to AppendCatalogue. It does not decode the
// products: a load generator that shares the server's machine must be cheap.
func JudgeCatalogue(status int, after time.Duration, body []byte) Answer {
	const start = `{"data":{"products":{"edges":[`
	if status == 200 && len(body) > len(start) && string(body[:len(start)]) == start {
		return Answer{Kind: Accepted}
	}
	var e envelope[json.RawMessage]
	if answer, done := judgeTransport(status, after, body, &e, &e.Errors); done {
		return answer
	}
	return Answer{Kind: Failed, Reason: "answer without products"}
}

// judgeTransport decodes the body and settles what is wrong before the payload
// is looked at.
func judgeTransport(status int, after time.Duration, body []byte, into any, found *[]Fault) (Answer, bool) {
	switch status {
	case 429, 502, 503, 504:
		// The body may know better than the header, which counts in seconds. A
		// proxy's answer has no such body.
		if json.Unmarshal(body, into) == nil && len(*found) > 0 && (*found)[0].Extensions.RetryAfterMs > 0 {
			after = milliseconds((*found)[0].Extensions.RetryAfterMs)
		}
		return Answer{Kind: Retry, Reason: "HTTP_" + strconv.Itoa(status), After: after}, true
	}
	if err := json.Unmarshal(body, into); err != nil {
		return Answer{Kind: Failed, Reason: "HTTP_" + strconv.Itoa(status) + " without JSON"}, true
	}
	if faults := *found; len(faults) > 0 {
		first := faults[0]
		if retryable(first.Extensions.Code) {
			return Answer{Kind: Retry, Reason: first.Extensions.Code, After: milliseconds(first.Extensions.RetryAfterMs)}, true
		}
		return Answer{Kind: Failed, Reason: first.Error()}, true
	}
	if status != 200 {
		return Answer{Kind: Failed, Reason: "HTTP_" + strconv.Itoa(status)}, true
	}
	return Answer{}, false
}

// retryable lists the codes that say: the same again, later.
func retryable(code string) bool {
	switch code {
	case "THROTTLED", "IN_PROGRESS", "PAYMENT_UNAVAILABLE", "UNAVAILABLE", "TIMEOUT", "INTERNAL", "INTERNAL_SERVER_ERROR":
		return true
	}
	return false
}

func milliseconds(n int64) time.Duration { return time.Duration(n) * time.Millisecond }
