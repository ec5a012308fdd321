package waiting

import (
	"context"
	"encoding/base64"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"stampede/proto/gen/salepb"
)

const (
	saleA = "sal_aaaaaaaaaaaaaaaaaaaaaaaaaa"
	saleB = "sal_bbbbbbbbbbbbbbbbbbbbbbbbba"
	eve   = "usr_eeeeeeeeeeeeeeeeeeeeeeeeee"
	bob   = "usr_bbbbbbbbbbbbbbbbbbbbbbbbbb"
)

var (
	t0     = time.UnixMilli(1_800_000_000_000)
	signer = NewSigner([]byte("0123456789abcdef0123456789abcdef"))
	other  = NewSigner([]byte("another key of the same length.."))
)

func TestAdmissionTokens(t *testing.T) {
	token := signer.Admit(saleA, eve, t0.Add(time.Minute))
	raw, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		t.Fatal(err)
	}
	tampered := func(i int) string {
		b := append([]byte(nil), raw...)
		b[i] ^= 1
		return base64.RawURLEncoding.EncodeToString(b)
	}
	cases := []struct {
		name                 string
		token, sale, whoever string
		at                   time.Duration
		want                 error
	}{
		{"good", token, saleA, eve, 0, nil},
		{"to its last moment", token, saleA, eve, time.Minute - time.Millisecond, nil},
		{"replayed after its end", token, saleA, eve, time.Minute, ErrExpired},
		{"another customer's", token, saleA, bob, 0, ErrToken},
		{"another sale's", token, saleB, eve, 0, ErrToken},
		{"of another sale, made to look right", tampered(0), saleA, eve, 0, ErrToken},
		{"with a later end", tampered(idBytes + 2), saleA, eve, 0, ErrToken},
		{"with another signature", tampered(tokenBytes - 1), saleA, eve, 0, ErrToken},
		{"of another key", other.Admit(saleA, eve, t0.Add(time.Minute)), saleA, eve, 0, ErrToken},
		{"cut short", token[:len(token)-4], saleA, eve, 0, ErrToken},
		{"a ticket", signer.Ticket(saleA, eve, 1), saleA, eve, 0, ErrToken},
		{"nothing", "", saleA, eve, 0, ErrToken},
		{"with a line break", token[:10] + "\n" + token[10:], saleA, eve, 0, ErrToken},
	}
	for _, c := range cases {
		if err := signer.Check(c.token, c.sale, c.whoever, t0.Add(c.at)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

func TestTickets(t *testing.T) {
	id := signer.Ticket(saleA, eve, 77)
	if sale, number, ok := signer.OpenTicket(id, eve); sale != saleA || number != 77 || !ok || !IsTicket(id) {
		t.Errorf("%s: %s, %d, %t", id, sale, number, ok)
	}
	for name, open := range map[string]func() (string, int64, bool){
		"another customer": func() (string, int64, bool) { return signer.OpenTicket(id, bob) },
		"another key":      func() (string, int64, bool) { return other.OpenTicket(id, eve) },
		"shorter":          func() (string, int64, bool) { return signer.OpenTicket(id[:len(id)-1], eve) },
		"no ticket":        func() (string, int64, bool) { return signer.OpenTicket(saleA, eve) },
	} {
		if _, _, ok := open(); ok {
			t.Errorf("%s opens it", name)
		}
	}
	for i := len(ticketPrefix); i < len(id); i++ {
		b := []byte(id)
		if b[i] == 'a' {
			b[i] = 'b'
		} else {
			b[i] = 'a'
		}
		if _, _, ok := signer.OpenTicket(string(b), eve); ok {
			t.Errorf("with another character %d it opens", i)
		}
	}
	if IsTicket("tkt_") || IsTicket(strings.ToUpper(id)) {
		t.Error("what is no ticket looks like one")
	}
}

// However many poll, the sale is asked once in freshFor.
func TestPollingAsksHardlyAnybody(t *testing.T) {
	var asked atomic.Int64
	opens := t0.Add(time.Hour).UnixMilli()
	s := NewSchedules(func(context.Context, string) (*salepb.Schedule, error) {
		return &salepb.Schedule{Admission: salepb.Admission_ADMISSION_SHUFFLED_AT_OPENING, Joined: asked.Add(1), StartsAtMs: opens, EndsAtMs: opens + 1000}, nil
	})
	poll := func(at time.Time) {
		t.Helper()
		var group sync.WaitGroup
		for range 100 {
			group.Go(func() {
				if c, err := s.Of(t.Context(), saleA, at); err != nil || c == nil {
					t.Errorf("%v, %v", c, err)
				}
			})
		}
		group.Wait()
	}
	if c, err := s.Of(t.Context(), saleA, t0); err != nil || c.GetJoined() != 1 {
		t.Fatalf("%v, %v", c, err)
	}
	poll(t0.Add(freshFor - 1))
	if n := asked.Load(); n != 1 {
		t.Errorf("asked %d times while it was fresh", n)
	}
	if _, err := s.Of(t.Context(), saleA, t0.Add(freshFor)); err != nil || asked.Load() != 2 {
		t.Errorf("asked %d times when it was not any more: %v", asked.Load(), err)
	}
	// At the opening it is asked at once, however fresh.
	before := time.UnixMilli(opens - 1)
	for i, at := range []time.Time{before, before, before.Add(time.Millisecond)} {
		if _, err := s.Of(t.Context(), saleA, at); err != nil || asked.Load() != []int64{3, 3, 4}[i] {
			t.Errorf("at %s: asked %d times: %v", at, asked.Load(), err)
		}
	}
}

func TestASaleThatDoesNotAnswer(t *testing.T) {
	gone := errors.New("gone")
	answers := true
	s := NewSchedules(func(context.Context, string) (*salepb.Schedule, error) {
		if !answers {
			return nil, gone
		}
		return &salepb.Schedule{Joined: 5}, nil
	})
	if _, err := s.Of(t.Context(), saleA, t0); err != nil {
		t.Fatal(err)
	}
	answers = false
	if c, err := s.Of(t.Context(), saleA, t0.Add(staleFor-1)); err != nil || c.GetJoined() != 5 {
		t.Errorf("a while later: %v, %v", c, err)
	}
	if _, err := s.Of(t.Context(), saleA, t0.Add(staleFor)); !errors.Is(err, gone) {
		t.Errorf("much later: %v", err)
	}
	none := NewSchedules(func(context.Context, string) (*salepb.Schedule, error) { return nil, nil })
	if c, err := none.Of(t.Context(), saleA, t0); c != nil || err != nil {
		t.Errorf("no such sale: %v, %v", c, err)
	}
}
