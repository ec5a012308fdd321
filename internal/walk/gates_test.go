package walk

import (
	"context"
	"strings"
	"sync"

	"google.golang.org/protobuf/proto"

	"stampede/actors/entity"
	"stampede/payments"
	"stampede/proto/gen/paymentpb"
	"stampede/proto/gen/skupb"
)

// gates is a bank that does not decide about a payment before its gate is opened:
// its token is tok_gate and a name. A payment whose token is tok_units and a name
// waits for its gate before the units are committed, and one whose token is
// tok_money and a name before the money is captured.
type gates struct {
	payments.Provider
	mu   sync.Mutex
	open map[string]chan struct{}
	held map[string]string // the token of an order that waits after it is authorized
}

const (
	gateToken  = "tok_gate-"
	unitsToken = "tok_units-"
	moneyToken = "tok_money-"
)

func (g *gates) gate(token string) chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.open[token] == nil {
		g.open[token] = make(chan struct{})
	}
	return g.open[token]
}

func (g *gates) Authorize(ctx context.Context, cmd *paymentpb.Authorize) (*paymentpb.AuthorizeReply, error) {
	if strings.HasPrefix(cmd.GetToken(), gateToken) {
		select {
		case <-g.gate(cmd.GetToken()):
		case <-ctx.Done():
			return nil, payments.ErrUnavailable
		}
	}
	if token := cmd.GetToken(); strings.HasPrefix(token, unitsToken) || strings.HasPrefix(token, moneyToken) {
		g.mu.Lock()
		g.held[cmd.GetOrderId()] = token
		g.mu.Unlock()
	}
	return g.Provider.Authorize(ctx, cmd)
}

// hold is testshop's: it holds up what an order wants after its payment was authorized.
func (g *gates) hold(_ entity.Address, cmd proto.Message) <-chan struct{} {
	switch cmd := cmd.(type) {
	case *skupb.Confirm:
		return g.after(cmd.GetOrderId(), unitsToken)
	case *paymentpb.Capture:
		return g.after(cmd.GetOrderId(), moneyToken)
	}
	return nil
}

func (g *gates) after(order, kind string) <-chan struct{} {
	g.mu.Lock()
	token := g.held[order]
	g.mu.Unlock()
	if !strings.HasPrefix(token, kind) {
		return nil
	}
	return g.gate(token)
}

// openAll lets every payment be decided: the orders that wait come to rest.
func (g *gates) openAll() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, gate := range g.open {
		select {
		case <-gate:
		default:
			close(gate)
		}
	}
}
