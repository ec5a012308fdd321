package payments

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"stampede/actors/entity"
	"stampede/proto/gen/commonpb"
	"stampede/proto/gen/paymentpb"
)

func eur(minor int64) *commonpb.Money { return &commonpb.Money{MinorUnits: minor, Currency: "EUR"} }

func authorize(token string) *paymentpb.Authorize {
	return &paymentpb.Authorize{OrderId: "ord_1", Attempt: 1, Amount: eur(1990), Token: token}
}

func capture() *paymentpb.Capture {
	return &paymentpb.Capture{OrderId: "ord_1", Attempt: 1, Amount: eur(1990), Reference: reference(attemptID{"ord_1", 1})}
}

func refund(number, minor int64) *paymentpb.Refund {
	return &paymentpb.Refund{OrderId: "ord_1", Attempt: 1, Number: number, Amount: eur(minor), Reference: reference(attemptID{"ord_1", 1})}
}

func lookup() *paymentpb.Lookup {
	return &paymentpb.Lookup{OrderId: "ord_1", Attempt: 1, Reference: reference(attemptID{"ord_1", 1})}
}

func void() *paymentpb.Void { return &paymentpb.Void{OrderId: "ord_1", Attempt: 1} }

func TestTokens(t *testing.T) {
	const ok, no, act = paymentpb.AuthorizeReply_STATUS_AUTHORIZED, paymentpb.AuthorizeReply_STATUS_DECLINED, paymentpb.AuthorizeReply_STATUS_REQUIRES_ACTION
	tests := []struct {
		token  string
		status paymentpb.AuthorizeReply_Status
		why    string
		err    error
	}{
		{TokenOK, ok, "", nil},
		{"anything else", ok, "", nil},
		{"ключ", ok, "", nil},
		{TokenDecline, no, "declined by the bank", nil},
		{TokenInsufficientFunds, no, "insufficient funds", nil},
		{TokenRequiresAction, act, "", nil},
		{TokenUnavailable, 0, "", ErrUnavailable},
		{"", 0, "", ErrInvalid},
		{"a\x00b", 0, "", ErrInvalid},
		{"\xff", 0, "", ErrInvalid},
		{strings.Repeat("t", 256), 0, "", ErrInvalid},
	}
	for _, tt := range tests {
		t.Run(tt.token, func(t *testing.T) {
			s := NewSimulator()
			reply, err := s.Authorize(t.Context(), authorize(tt.token))
			if !errors.Is(err, tt.err) || reply.GetStatus() != tt.status || reply.GetDeclineReason() != tt.why {
				t.Fatalf("%v, %v", reply, err)
			}
			if (reply.GetNextActionUrl() != "") != (tt.status == act) {
				t.Errorf("next action %q", reply.GetNextActionUrl())
			}
			// The same again, here and in a process that has never heard of it.
			for _, other := range []*Simulator{s, NewSimulator()} {
				again, err2 := other.Authorize(t.Context(), authorize(tt.token))
				if diff := cmp.Diff(reply, again, protocmp.Transform()); diff != "" || !errors.Is(err2, tt.err) {
					t.Errorf("the same again: %s, %v", diff, err2)
				}
			}
		})
	}
}

func TestInvalidCommands(t *testing.T) {
	change := func(f func(c *paymentpb.Authorize)) *paymentpb.Authorize {
		c := authorize(TokenOK)
		f(c)
		return c
	}
	for name, c := range map[string]*paymentpb.Authorize{
		"no order":    change(func(c *paymentpb.Authorize) { c.OrderId = "" }),
		"no attempt":  change(func(c *paymentpb.Authorize) { c.Attempt = 0 }),
		"no amount":   change(func(c *paymentpb.Authorize) { c.Amount = nil }),
		"negative":    change(func(c *paymentpb.Authorize) { c.Amount.MinorUnits = -1 }),
		"no currency": change(func(c *paymentpb.Authorize) { c.Amount.Currency = "" }),
	} {
		if reply, err := NewSimulator().Authorize(t.Context(), c); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v, %v", name, reply, err)
		}
	}
	if _, err := NewSimulator().Capture(t.Context(), &paymentpb.Capture{}); !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
	if _, err := NewSimulator().Void(t.Context(), &paymentpb.Void{}); !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
}

// TestAttempts: what can follow what, in the life of one attempt.
func TestAttempts(t *testing.T) {
	other := func(f func(c *paymentpb.Capture)) *paymentpb.Capture {
		c := capture()
		f(c)
		return c
	}
	dearer := authorize(TokenOK)
	dearer.Amount = eur(1991)
	tests := []struct {
		name string
		cmds []any
		err  error // of the last one
	}{
		{"capture", []any{authorize(TokenOK), capture()}, nil},
		{"capture twice", []any{authorize(TokenOK), capture(), capture()}, nil},
		{"authorize after capture", []any{authorize(TokenOK), capture(), authorize(TokenOK)}, nil},
		{"void", []any{authorize(TokenOK), void()}, nil},
		{"void twice", []any{authorize(TokenOK), void(), void()}, nil},
		{"void first", []any{void()}, nil},
		{"void what is declined", []any{authorize(TokenDecline), void()}, nil},
		{"void what waits", []any{authorize(TokenRequiresAction), void()}, nil},
		{"capture after restart", []any{capture()}, nil},
		{"capture what is voided", []any{authorize(TokenOK), void(), capture()}, ErrState},
		{"capture what is declined", []any{authorize(TokenDecline), capture()}, ErrState},
		{"capture what waits", []any{authorize(TokenRequiresAction), capture()}, ErrState},
		{"void what is captured", []any{authorize(TokenOK), capture(), void()}, ErrState},
		{"capture another amount", []any{authorize(TokenOK), other(func(c *paymentpb.Capture) { c.Amount = eur(1) })}, ErrInvalid},
		{"capture by another name", []any{authorize(TokenOK), other(func(c *paymentpb.Capture) { c.Reference = "sim_" })}, ErrInvalid},
		{"refund", []any{authorize(TokenOK), capture(), refund(1, 1990)}, nil},
		{"refund twice", []any{authorize(TokenOK), capture(), refund(1, 1990), refund(1, 1990)}, nil},
		{"refund in parts", []any{authorize(TokenOK), capture(), refund(1, 990), refund(3, 1000)}, nil},
		{"refund more than was taken", []any{authorize(TokenOK), capture(), refund(1, 990), refund(2, 1001)}, ErrState},
		{"refund before capture", []any{authorize(TokenOK), refund(1, 1)}, ErrState},
		{"refund what is voided", []any{authorize(TokenOK), void(), refund(1, 1)}, ErrState},
		{"refund after restart", []any{refund(1, 1)}, nil},
		{"refund another amount", []any{authorize(TokenOK), capture(), refund(1, 2), refund(1, 1)}, ErrInvalid},
		{"refund without a number", []any{authorize(TokenOK), capture(), refund(0, 2)}, ErrInvalid},
		{"look up", []any{authorize(TokenRequiresAction), lookup()}, nil},
		{"look up after restart", []any{lookup()}, nil},
		{"look up another", []any{authorize(TokenRequiresAction), &paymentpb.Lookup{OrderId: "ord_1", Attempt: 1, Reference: "x"}}, ErrInvalid},
		{"another token", []any{authorize(TokenOK), authorize(TokenDecline)}, ErrInvalid},
		{"another amount", []any{authorize(TokenOK), dearer}, ErrInvalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := NewSimulator()
			port := Port{Provider: s}
			for i, cmd := range tt.cmds {
				_, err := port.Call(t.Context(), entity.Address{Kind: "payment", ID: "ord_1"}, cmd.(proto.Message))
				if i == len(tt.cmds)-1 {
					if !errors.Is(err, tt.err) {
						t.Errorf("%v, want %v", err, tt.err)
					}
				} else if err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// TestVoidOvertakesAuthorize: money that nobody wants any more is not reserved.
func TestVoidOvertakesAuthorize(t *testing.T) {
	s := NewSimulator()
	if _, err := s.Void(t.Context(), void()); err != nil {
		t.Fatal(err)
	}
	reply, err := s.Authorize(t.Context(), authorize(TokenOK))
	if err != nil || reply.GetStatus() != paymentpb.AuthorizeReply_STATUS_DECLINED || reply.GetDeclineReason() != "voided" {
		t.Errorf("%v, %v", reply, err)
	}
}

func TestAct(t *testing.T) {
	for agree, want := range map[bool]paymentpb.AuthorizeReply_Status{
		true:  paymentpb.AuthorizeReply_STATUS_AUTHORIZED,
		false: paymentpb.AuthorizeReply_STATUS_DECLINED,
	} {
		s := NewSimulator()
		if err := s.Act(t.Context(), "ord_1", 1, agree); !errors.Is(err, ErrState) {
			t.Errorf("before anything was asked: %v", err)
		}
		if _, err := s.Authorize(t.Context(), authorize(TokenRequiresAction)); err != nil {
			t.Fatal(err)
		}
		if err := s.Act(t.Context(), "ord_1", 1, agree); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if reply, err := s.Authorize(t.Context(), authorize(TokenRequiresAction)); err != nil || reply.GetStatus() != want {
				t.Errorf("%v, %v", reply, err)
			}
			if reply, err := s.Lookup(t.Context(), lookup()); err != nil || reply.GetStatus() != want {
				t.Errorf("looked up: %v, %v", reply, err)
			}
		}
		if err := s.Act(t.Context(), "ord_1", 1, !agree); !errors.Is(err, ErrState) {
			t.Errorf("twice: %v", err)
		}
	}
}

// away is a provider that cannot be reached.
type away struct{ Provider }

func (away) Authorize(context.Context, *paymentpb.Authorize) (*paymentpb.AuthorizeReply, error) {
	return nil, fmt.Errorf("%w: connection refused", ErrUnavailable)
}

// TestUnanswered: an order hears once that the provider does not answer, when it
// has asked for some time; before and after that it asks again.
func TestUnanswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, provider := range map[string]Provider{"unreachable": away{}, "the token": NewSimulator()} {
			began := time.Now()
			ask := func(awaited bool) (proto.Message, error) {
				cmd := authorize(TokenUnavailable)
				cmd.RequestedAtMs, cmd.Awaited = began.UnixMilli(), awaited
				return Port{Provider: provider}.Call(t.Context(), entity.Address{Kind: "payment", ID: "ord_1"}, cmd)
			}
			if reply, err := ask(false); !errors.Is(err, ErrUnavailable) {
				t.Errorf("%s: at first: %v, %v", name, reply, err)
			}
			time.Sleep(patience)
			if reply, err := ask(false); err != nil || reply.(*paymentpb.AuthorizeReply).GetStatus() != paymentpb.AuthorizeReply_STATUS_UNANSWERED {
				t.Errorf("%s: after a while: %v, %v", name, reply, err)
			}
			if reply, err := ask(true); !errors.Is(err, ErrUnavailable) {
				t.Errorf("%s: told already: %v, %v", name, reply, err)
			}
		}
	})
}

// TestSlow: the time runs from the first question, so that somebody who asks
// again and again with little patience is answered too.
func TestSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSimulator(func(s *Simulator) { s.slow = 10 * time.Second })
		start := time.Now()
		for range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			reply, err := s.Authorize(ctx, authorize(TokenSlow))
			cancel()
			if !errors.Is(err, ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("%v, %v after %v", reply, err, time.Since(start))
			}
		}
		reply, err := s.Authorize(t.Context(), authorize(TokenSlow))
		if err != nil || reply.GetStatus() != paymentpb.AuthorizeReply_STATUS_AUTHORIZED || time.Since(start) != 10*time.Second {
			t.Fatalf("%v, %v after %v", reply, err, time.Since(start))
		}
		if _, err := s.Authorize(t.Context(), authorize(TokenSlow)); err != nil || time.Since(start) != 10*time.Second {
			t.Errorf("again: %v after %v", err, time.Since(start))
		}
	})
}

// TestLostAnswer: the money is reserved, nobody hears of it, and the same again
// says so.
func TestLostAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSimulator()
		if reply, err := s.Authorize(t.Context(), authorize(TokenTimeout)); !errors.Is(err, ErrUnavailable) {
			t.Fatalf("%v, %v", reply, err)
		}
		if reply, err := s.Authorize(t.Context(), authorize(TokenTimeout)); err != nil || reply.GetStatus() != paymentpb.AuthorizeReply_STATUS_AUTHORIZED {
			t.Errorf("again: %v, %v", reply, err)
		}
	})
}

// TestNotices: news come before the answer, as often as the token says, and
// again when they were not taken.
func TestNotices(t *testing.T) {
	for token, want := range map[string]int{TokenOK: 0, TokenWebhookFirst: 1, TokenWebhookTwice: 2} {
		told, broken := 0, true
		s := NewSimulator(WithNotices(func(_ context.Context, order string, attempt int64) error {
			if order != "ord_1" || attempt != 1 {
				t.Errorf("told of payment %d of %s", attempt, order)
			}
			if broken {
				return errors.New("not now")
			}
			told++
			return nil
		}))
		if reply, err := s.Authorize(t.Context(), authorize(token)); (err == nil) != (want == 0) {
			t.Fatalf("%s: answered before its notice was taken: %v, %v", token, reply, err)
		}
		broken = false
		if _, err := s.Authorize(t.Context(), authorize(token)); err != nil || told != want {
			t.Errorf("%s: told %d times, %v", token, told, err)
		}
	}
}

func TestMemoryIsBounded(t *testing.T) {
	s := NewSimulator()
	for i := range 3*maxRemembered + 7 {
		c := authorize(TokenDecline)
		c.OrderId = fmt.Sprint("ord_", i)
		if reply, err := s.Authorize(t.Context(), c); err != nil || reply.GetStatus() != paymentpb.AuthorizeReply_STATUS_DECLINED {
			t.Fatal(reply, err)
		}
	}
	if len(s.attempts) != maxRemembered || len(s.order)-s.forgot != maxRemembered || len(s.order) > 2*maxRemembered {
		t.Errorf("%d attempts, %d names, %d of them forgotten", len(s.attempts), len(s.order), s.forgot)
	}
}

// mute is a provider that answers with nothing.
type mute struct{ Provider }

func (mute) Authorize(context.Context, *paymentpb.Authorize) (*paymentpb.AuthorizeReply, error) {
	return &paymentpb.AuthorizeReply{}, nil
}

func (mute) Capture(context.Context, *paymentpb.Capture) (*paymentpb.CaptureReply, error) {
	return nil, nil //nolint:nilnil // what a careless provider may do
}

func TestPort(t *testing.T) {
	to := entity.Address{Kind: "payment", ID: "ord_1"}
	tests := []struct {
		name string
		port Port
		to   entity.Address
		cmd  proto.Message
		err  error
	}{
		{"authorize", Port{NewSimulator()}, to, authorize(TokenOK), nil},
		{"unavailable", Port{NewSimulator()}, to, authorize(TokenUnavailable), ErrUnavailable},
		{"another order", Port{NewSimulator()}, entity.Address{Kind: "payment", ID: "ord_2"}, authorize(TokenOK), ErrInvalid},
		{"no order", Port{NewSimulator()}, entity.Address{Kind: "payment"}, &paymentpb.Void{Attempt: 1}, ErrInvalid},
		{"another command", Port{NewSimulator()}, to, &commonpb.Tick{}, ErrInvalid},
		{"no command", Port{NewSimulator()}, to, nil, ErrInvalid},
		{"an answer that says nothing", Port{mute{}}, to, authorize(TokenOK), ErrUnavailable},
		{"no answer", Port{mute{}}, to, capture(), ErrUnavailable},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			reply, err := tt.port.Call(t.Context(), tt.to, tt.cmd)
			if !errors.Is(err, tt.err) || (reply == nil) != (tt.err != nil) {
				t.Errorf("%v, %v", reply, err)
			}
		})
	}
}
