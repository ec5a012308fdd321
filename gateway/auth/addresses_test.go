package auth

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"stampede/actors/account"
	"stampede/actors/entity"
	"stampede/proto/gen/accountpb"
)

const here = "192.0.2.1"

func TestFailedLogInsByAddress(t *testing.T) {
	a, now := NewAddresses(), start
	try := func(from string, did bool) bool {
		failed, r := a.LogIn(from, now)
		if r != nil {
			if r.Reason != throttled || r.RetryAfterMs < 1 || r.RetryAfterMs > FailedLogInEvery.Milliseconds() {
				t.Fatalf("refused with %v", r)
			}
			return false
		}
		failed(did)
		return true
	}
	for i := range 10 * FailedLogInsPerAddress {
		if !try(here, false) {
			t.Fatalf("refused after %d that succeeded", i)
		}
	}
	for i := range FailedLogInsPerAddress {
		if !try(here, true) {
			t.Fatalf("refused after %d", i)
		}
	}
	if try(here, true) || try(here, false) {
		t.Fatal("one more")
	}
	if !try("192.0.2.2", true) || !try("", true) {
		t.Fatal("another address is refused")
	}
	now = now.Add(FailedLogInEvery - time.Millisecond)
	if try(here, true) {
		t.Fatal("too early")
	}
	now = now.Add(time.Millisecond)
	if !try(here, true) || try(here, true) {
		t.Fatal("one after a while, and no more")
	}
	now = now.Add(-time.Hour) // a clock that was set
	if try(here, true) {
		t.Fatal("a clock that goes back gives more")
	}
	now = now.Add(365 * 24 * time.Hour)
	for range FailedLogInsPerAddress {
		if !try(here, true) {
			t.Fatal("it is not forgotten")
		}
	}
	if try(here, true) {
		t.Fatal("more than ever after a year")
	}
}

// As many as are under way count, so guessing in parallel gains nothing.
func TestLogInsAtOnceByAddress(t *testing.T) {
	a := NewAddresses()
	var under []func(bool)
	for range FailedLogInsPerAddress {
		failed, r := a.LogIn(here, start)
		if r != nil {
			t.Fatal(r)
		}
		under = append(under, failed)
	}
	if _, r := a.LogIn(here, start); r == nil {
		t.Fatal("one more at once")
	}
	under[0](false)
	if _, r := a.LogIn(here, start); r != nil {
		t.Fatal("one succeeded, and its place is gone")
	}
}

func TestRegistrationsByAddress(t *testing.T) {
	a := NewAddresses()
	for i := range RegistrationsPerAddress {
		if r := a.Register(here, start); r != nil {
			t.Fatalf("after %d: %v", i, r)
		}
	}
	if r := a.Register(here, start); r.GetReason() != throttled {
		t.Fatalf("one more: %v", r)
	}
	if r := a.Register(here, start.Add(RegistrationEvery)); r != nil {
		t.Fatal(r)
	}
	for range 2 * maxAddresses { // forgets, and does not grow
		a.Register(string(random(8)), start)
	}
	if n := a.registrations.by.Len(); n != maxAddresses {
		t.Fatalf("%d addresses", n)
	}
}

// slowCommit lets what is written take a while.
type slowCommit struct {
	*actors
	takes time.Duration
}

func (s slowCommit) Call(ctx context.Context, to entity.Address, cmd proto.Message) (proto.Message, error) {
	_, failure := cmd.(*accountpb.RecordFailedLogIn)
	if failure && s.states[to.ID] != nil && s.states[to.ID].User() != nil {
		time.Sleep(s.takes) // fake time: the commit that an unknown address does not have
	}
	return s.actors.Call(ctx, to, cmd)
}

// A failed log-in takes the same time whether somebody has the address or not,
// although only the one is written down.
func TestFailedLogInsTakeTheSameTime(t *testing.T) {
	for _, takes := range []time.Duration{0, 3 * time.Millisecond, 99 * time.Millisecond} {
		f := newFixture(t)
		f.registered()
		f.failedAt = failedLogInGrid
		f.caller = slowCommit{f.actors, takes}
		synctest.Test(t, func(t *testing.T) {
			for range account.FailedLogInsBeforeLock - 1 {
				for _, email := range []string{ada, "nobody@example.com"} {
					began := time.Now()
					_, r, err := f.LogIn(t.Context(), email, "not the password")
					refused(t, r, err, badCredentials)
					if took := time.Since(began); took != failedLogInGrid {
						t.Fatalf("%s with a commit of %v: %v, want %v", email, takes, took, failedLogInGrid)
					}
				}
			}
		})
	}
}
