package account

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"stampede/proto/gen/accountpb"
	"stampede/proto/gen/commonpb"
)

func rotation(family string, presented, next byte) *accountpb.Rotate {
	return &accountpb.Rotate{FamilyId: family, PresentedHash: token(presented), NextHash: token(next), ExpiresAtMs: start.Add(60 * 24 * time.Hour).UnixMilli()}
}

func TestRotate(t *testing.T) {
	h := registeredOne(t)
	if u := h.user(rotation("a", 1, 2)); u.Version != 3 {
		t.Fatalf("version %d", u.Version)
	}
	h.user(rotation("a", 1, 2)) // the same command sent again: its answer was lost
	if len(h.events) != 3 {
		t.Fatal("sent again, it wrote")
	}
	h.user(rotation("a", 2, 3))
	h.refused(rotation("?", 3, 4), commonpb.Reason_REASON_BAD_CREDENTIALS, "refreshToken")
	if len(h.events) != 4 {
		t.Fatal("an unknown family wrote")
	}
	for name, c := range map[string]*accountpb.Rotate{
		"no presented hash": {FamilyId: "a", NextHash: token(4), ExpiresAtMs: start.UnixMilli() + 1},
		"short next hash":   {FamilyId: "a", PresentedHash: token(3), NextHash: token(4)[1:], ExpiresAtMs: start.UnixMilli() + 1},
		"the same again":    {FamilyId: "a", PresentedHash: token(3), NextHash: token(3), ExpiresAtMs: start.UnixMilli() + 1},
		"over at once":      {FamilyId: "a", PresentedHash: token(3), NextHash: token(4), ExpiresAtMs: start.UnixMilli()},
	} {
		t.Run(name, func(t *testing.T) {
			h.t = t
			h.refused(c, commonpb.Reason_REASON_INVALID, "refreshToken")
		})
	}
	h.t = t
	wantEqual(t, "sessions", h.families(), []string{"a"})
}

func TestATokenUsedAgainEndsItsSession(t *testing.T) {
	for name, again := range map[string]*accountpb.Rotate{
		"the one before": rotation("a", 2, 9),
		"an older one":   rotation("a", 1, 9),
	} {
		t.Run(name, func(t *testing.T) {
			h := registeredOne(t)
			h.user(&accountpb.StartSession{PasswordHash: hash1, Session: sessionOf("b", 5)})
			h.user(rotation("a", 1, 2))
			h.user(rotation("a", 2, 3))
			n := len(h.events)
			h.refused(again, commonpb.Reason_REASON_BAD_CREDENTIALS, "refreshToken")
			wantEqual(t, "event", h.events[n:], []*accountpb.Event{{AtMs: start.UnixMilli(), Event: &accountpb.Event_FamilyRevoked{
				FamilyRevoked: &accountpb.FamilyRevoked{FamilyId: "a"},
			}}})
			h.refused(rotation("a", 3, 4), commonpb.Reason_REASON_BAD_CREDENTIALS, "refreshToken")
			wantEqual(t, "sessions", h.families(), []string{"b"})
		})
	}
}

func TestSessionsExpire(t *testing.T) {
	h := registeredOne(t)
	h.now = time.UnixMilli(sessionOf("a", 1).ExpiresAtMs - 1)
	h.user(rotation("a", 1, 2)) // slides to 60 days after the start
	h.now = time.UnixMilli(rotation("a", 1, 2).ExpiresAtMs)
	late := rotation("a", 2, 3)
	late.ExpiresAtMs = h.now.UnixMilli() + 1
	h.refused(late, commonpb.Reason_REASON_BAD_CREDENTIALS, "refreshToken")
	fresh := sessionOf("b", 5)
	fresh.ExpiresAtMs = h.now.UnixMilli() + 1
	h.user(&accountpb.StartSession{PasswordHash: hash1, Session: fresh})
	wantEqual(t, "sessions", h.families(), []string{"b"})
}

func TestStartSession(t *testing.T) {
	h := registeredOne(t)
	h.refused(&accountpb.StartSession{PasswordHash: hash2, Session: sessionOf("b", 2)}, commonpb.Reason_REASON_BAD_CREDENTIALS)
	h.refused(&accountpb.StartSession{PasswordHash: hash1}, commonpb.Reason_REASON_INVALID, "session", "familyId")
	h.refused(&accountpb.StartSession{PasswordHash: hash1, Session: sessionOf("a", 9)}, commonpb.Reason_REASON_CONFLICT, "session", "familyId")
	cmd := &accountpb.StartSession{PasswordHash: hash1, Session: sessionOf("b", 2)}
	h.user(cmd)
	h.user(cmd) // sent again
	if len(h.events) != 3 {
		t.Fatalf("%d events, want 3", len(h.events))
	}
	for i := range MaxSessions + 3 {
		h.user(&accountpb.StartSession{PasswordHash: hash1, Session: sessionOf(fmt.Sprint("n", i), 7)})
	}
	if f := h.families(); len(f) != MaxSessions || f[0] != "n3" || f[MaxSessions-1] != fmt.Sprint("n", MaxSessions+2) {
		t.Fatalf("sessions %v", f)
	}
}

func TestEndSession(t *testing.T) {
	open := func(t *testing.T) *one {
		h := registeredOne(t)
		h.user(&accountpb.StartSession{PasswordHash: hash1, Session: sessionOf("b", 2)})
		h.user(rotation("b", 2, 3))
		return h
	}
	for _, tc := range []struct {
		name    string
		cmd     *accountpb.EndSession
		refused bool
		left    []string
	}{
		{"one", &accountpb.EndSession{FamilyId: "b", PresentedHash: token(3)}, false, []string{"a"}},
		{"one, by a used token", &accountpb.EndSession{FamilyId: "b", PresentedHash: token(2)}, true, []string{"a"}},
		{"one that is not open", &accountpb.EndSession{FamilyId: "c", PresentedHash: token(3)}, false, []string{"a", "b"}},
		{"one, without a token", &accountpb.EndSession{FamilyId: "c"}, false, []string{"a", "b"}},
		{"everywhere, by a token", &accountpb.EndSession{FamilyId: "b", PresentedHash: token(3), Everywhere: true}, false, nil},
		{"everywhere, by a used token", &accountpb.EndSession{FamilyId: "b", PresentedHash: token(2), Everywhere: true}, true, []string{"a"}},
		{"everywhere, by one that is not open", &accountpb.EndSession{FamilyId: "c", PresentedHash: token(3), Everywhere: true}, true, []string{"a", "b"}},
		{"everywhere, authenticated otherwise", &accountpb.EndSession{Everywhere: true}, false, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := open(t)
			if tc.refused {
				h.refused(tc.cmd, commonpb.Reason_REASON_BAD_CREDENTIALS, "refreshToken")
			} else {
				h.user(tc.cmd)
			}
			wantEqual(t, "sessions", h.families(), tc.left)
			n := len(h.events)
			if !tc.refused {
				h.user(tc.cmd) // sent again
			}
			if len(h.events) != n {
				t.Fatal("sent again, it wrote")
			}
		})
	}
	t.Run("everywhere, by an expired one", func(t *testing.T) {
		h := open(t)
		h.now = time.UnixMilli(sessionOf("a", 1).ExpiresAtMs)
		h.refused(&accountpb.EndSession{FamilyId: "a", PresentedHash: token(1), Everywhere: true}, commonpb.Reason_REASON_BAD_CREDENTIALS, "refreshToken")
	})
}

func TestLockFor(t *testing.T) {
	for n, want := range map[int]time.Duration{
		0: 0, 1: 0, 9: 0, 10: 30 * time.Second, 11: time.Minute, 12: 2 * time.Minute, 14: 8 * time.Minute, 15: 15 * time.Minute, 16: 15 * time.Minute, 1_000_000: 15 * time.Minute,
	} {
		if got := LockFor(n); got != want {
			t.Errorf("LockFor(%d) = %v, want %v", n, got, want)
		}
	}
}

// TestAFailureIsCountedOnce: however often the command is sent, and what else
// happened since; by its name, of which the newest are remembered.
func TestAFailureIsCountedOnce(t *testing.T) {
	h := registeredOne(t)
	fail := func(name byte) {
		h.do(&accountpb.RecordFailedLogIn{AttemptId: bytes.Repeat([]byte{name}, AttemptIDBytes)})
	}
	failed := func(want int32) {
		t.Helper()
		if got := h.s.state.FailedLogIns; got != want {
			t.Fatalf("%d failures are counted, want %d", got, want)
		}
	}
	fail(1)
	fail(1)
	fail(2)
	fail(1)
	failed(2)
	h.user(&accountpb.StartSession{PasswordHash: hash1, Session: sessionOf("b", 2)})
	fail(2)
	failed(0)
	for name := range byte(MaxFailedAttempts) {
		h.now = h.now.Add(LongestLock)
		fail(100 + name)
	}
	failed(MaxFailedAttempts)
	if n := len(h.s.state.FailedAttempts); n != MaxFailedAttempts {
		t.Fatalf("%d attempts are remembered", n)
	}
	h.now = h.now.Add(LongestLock)
	fail(100)
	fail(131)
	failed(MaxFailedAttempts)
	if r := h.do(&accountpb.RecordFailedLogIn{AttemptId: []byte("short")}).(*accountpb.Credentials).Refusal; r.GetReason() != commonpb.Reason_REASON_INVALID {
		t.Fatalf("%v", r)
	}
}

func TestFailedLogInsLock(t *testing.T) {
	h := registeredOne(t)
	fail := func() int64 { return h.do(&accountpb.RecordFailedLogIn{}).(*accountpb.Credentials).LockedUntilMs }
	for i := range FailedLogInsBeforeLock - 1 {
		if at := fail(); at != 0 {
			t.Fatalf("locked after %d failures", i+1)
		}
	}
	until := h.now.Add(FirstLock).UnixMilli()
	if at := fail(); at != until {
		t.Fatalf("locked until %d, want %d", at, until)
	}
	if c := h.do(&accountpb.GetCredentials{}).(*accountpb.Credentials); c.LockedUntilMs != until || c.PasswordHash != hash1 {
		t.Fatalf("credentials %v", c)
	}
	n := len(h.events)
	if at := fail(); at != until || len(h.events) != n {
		t.Fatal("a failure while locked was counted")
	}
	right := &accountpb.StartSession{PasswordHash: hash1, Session: sessionOf("b", 2)}
	if r := h.refused(right, commonpb.Reason_REASON_THROTTLED); r.RetryAfterMs != FirstLock.Milliseconds() {
		t.Fatalf("retry after %d ms", r.RetryAfterMs)
	}
	h.refused(&accountpb.ChangePassword{OldPasswordHash: hash1, NewPasswordHash: hash2}, commonpb.Reason_REASON_THROTTLED)

	h.now = h.now.Add(FirstLock)
	if at, want := fail(), h.now.Add(2*FirstLock).UnixMilli(); at != want {
		t.Fatalf("the second lock ends at %d, want %d", at, want)
	}
	h.now = h.now.Add(2 * FirstLock)
	h.user(right)
	if at := fail(); at != 0 || h.s.state.FailedLogIns != 1 {
		t.Fatalf("a success did not reset: locked until %d, %d failures", at, h.s.state.FailedLogIns)
	}
}
