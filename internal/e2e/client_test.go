package e2e

// A small GraphQL client that keeps apart what a shopper has to keep apart: an
// answer, a refusal, and not knowing.

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// client is one user of the shop at an address.
type client struct {
	at    fmt.Stringer
	token string
	http  *http.Client
}

// newClient has connections of its own.
func newClient(at fmt.Stringer, token string) *client {
	transport := &http.Transport{DialContext: (&net.Dialer{Timeout: 5 * time.Second}).DialContext, MaxIdleConnsPerHost: 64}
	return &client{at: at, token: token, http: &http.Client{Transport: transport, Timeout: 15 * time.Second}}
}

// as is the same connections for another user.
func (c *client) as(token string) *client { return &client{c.at, token, c.http} }

// errUnknown: the request was not answered, or with: it is not known yet. It
// may have been done.
var errUnknown = errors.New("outcome unknown")

// errLater: the request was not done, and may be sent again.
var errLater = errors.New("later")

// fault is a top-level error of GraphQL.
type fault struct {
	Message    string `json:"message"`
	Path       []any  `json:"path"`
	Extensions struct {
		Code         string `json:"code"`
		RetryAfterMs int    `json:"retryAfterMs"`
	} `json:"extensions"`
	status int
}

func (f *fault) Error() string {
	return fmt.Sprintf("HTTP %d %s: %s", f.status, f.Extensions.Code, f.Message)
}

// ask sends one request, once. Data that came with errors is decoded as well.
func (c *client) ask(ctx context.Context, document string, variables map[string]any, into any) error {
	body, err := json.Marshal(map[string]any{"query": document, "variables": variables})
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.at.String()+"/graphql", bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("content-type", "application/json")
	switch {
	case strings.HasPrefix(c.token, "key_"):
		request.Header.Set("x-api-key", c.token)
	case c.token != "":
		request.Header.Set("authorization", "Bearer "+c.token)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return fmt.Errorf("%w: %w", errUnknown, err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return fmt.Errorf("%w: %w", errUnknown, err)
	}
	return judge(response.StatusCode, answer, into)
}

// judge reads an answer.
func judge(status int, answer []byte, into any) error {
	var envelope struct {
		Data   json.RawMessage `json:"data"`
		Errors []*fault        `json:"errors"`
	}
	if err := json.Unmarshal(answer, &envelope); err != nil {
		return fmt.Errorf("HTTP %d without GraphQL: %.200q", status, answer)
	}
	if len(envelope.Data) > 0 && string(envelope.Data) != "null" {
		if err := json.Unmarshal(envelope.Data, into); err != nil {
			return fmt.Errorf("%w in %.500q", err, answer)
		}
	}
	if len(envelope.Errors) == 0 {
		if status != http.StatusOK {
			return fmt.Errorf("HTTP %d without an error: %.200q", status, answer)
		}
		return nil
	}
	first := envelope.Errors[0]
	first.status = status
	switch {
	case first.Extensions.Code == "THROTTLED":
		return fmt.Errorf("%w: %w", errLater, first)
	case first.Extensions.RetryAfterMs > 0:
		return fmt.Errorf("%w: %w", errUnknown, first)
	}
	return first
}

// userError is a business outcome that is not what was asked for.
type userError struct {
	Typename       string `json:"__typename"`
	Code           string
	Message        string
	Field          []string
	RetryAfterMs   int
	SKU            string
	Requested      int
	Available      int
	CurrentVersion int
}

func (e *userError) Error() string { return fmt.Sprintf("%s %v: %s", e.Code, e.Field, e.Message) }

const errorFields = `{__typename code message field
	...on RetryLater{retryAfterMs} ...on InsufficientStock{sku requested available} ...on VersionConflict{currentVersion}}`

// mutate sends a mutation of one input, once, and decodes its payload. The
// error is what the payload says, if it says one: errLater and errUnknown as
// ask has them, else a *userError.
func (c *client) mutate(ctx context.Context, field, inputType, selection string, input map[string]any, payload any) error {
	document := fmt.Sprintf(`mutation M($input:%s!){payload:%s(input:$input){%s userErrors%s}}`, inputType, field, selection, errorFields)
	var data struct{ Payload json.RawMessage }
	if err := c.ask(ctx, document, map[string]any{"input": input}, &data); err != nil {
		return err
	}
	var outcome struct{ UserErrors []*userError }
	if err := json.Unmarshal(data.Payload, &outcome); err != nil {
		return fmt.Errorf("payload of %s: %w: %s", field, err, data.Payload)
	}
	if err := json.Unmarshal(data.Payload, payload); err != nil {
		return fmt.Errorf("payload of %s: %w: %s", field, err, data.Payload)
	}
	if len(outcome.UserErrors) == 0 {
		return nil
	}
	first := outcome.UserErrors[0]
	switch first.Code {
	case "THROTTLED":
		return fmt.Errorf("%w: %w", errLater, first)
	case "IN_PROGRESS":
		return fmt.Errorf("%w: %w", errUnknown, first)
	}
	return first
}

// codeOf is the code of a refusal or a fault; empty for what has none.
func codeOf(err error) string {
	var refused *userError
	var failed *fault
	switch {
	case errors.As(err, &refused):
		return refused.Code
	case errors.As(err, &failed):
		return failed.Extensions.Code
	}
	return ""
}

// unexpected is an answer that should have been another one, with the order or
// what else came, and the error or none.
func unexpected(what string, got any, err error) error {
	if err == nil {
		return fmt.Errorf("%s: %+v", what, got)
	}
	return fmt.Errorf("%s: %+v, %w", what, got, err)
}

// open reports whether the same input has to be sent again to know.
func open(err error) bool { return errors.Is(err, errUnknown) || errors.Is(err, errLater) }

// settle sends the same again until its outcome is known.
func settle[T any](ctx context.Context, send func() (T, error)) (T, error) {
	pause := 5 * time.Millisecond
	for {
		answer, err := send()
		if !open(err) {
			return answer, err
		}
		select {
		case <-ctx.Done():
			return answer, err
		case <-time.After(pause):
		}
		pause = min(2*pause, 200*time.Millisecond)
	}
}
