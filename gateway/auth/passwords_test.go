package auth

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"stampede/actors/entity"
	"stampede/proto/gen/commonpb"
)

// cheap keeps tests fast; the recommended cost is tried once.
var cheap = WithCost(64, 1, 1)

func TestHashAndVerify(t *testing.T) {
	ctx := t.Context()
	p := NewPasswords(1, 0)
	phc, err := p.Hash(ctx, "correct horse")
	if err != nil || !strings.HasPrefix(phc, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Fatalf("%s, %v", phc, err)
	}
	for password, want := range map[string]bool{"correct horse": true, "correct horsf": false, "": false} {
		if got, err := p.Verify(ctx, password, phc); err != nil || got != want {
			t.Errorf("Verify(%q) = %v, %v", password, got, err)
		}
	}
	again, err := p.Hash(ctx, "correct horse")
	if err != nil || again == phc {
		t.Fatal("two hashes of one password are the same")
	}
	decoy, err := parseHash(p.decoy)
	if err != nil || decoy.cost != p.cost || len(decoy.salt) != saltBytes || len(decoy.key) != keyBytes {
		t.Fatalf("the decoy does not take what a hash takes: %+v, %v", decoy, err)
	}
	if err := p.Pretend(ctx, "correct horse"); err != nil {
		t.Fatal(err)
	}
}

// The published vectors of golang.org/x/crypto, which agree with the reference
// implementation (argon2id, password "password", salt "somesalt").
func TestKnownHashes(t *testing.T) {
	p := NewPasswords(1, 0, cheap)
	for _, phc := range []string{
		"$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$ZVrRXqxlLcWfcXCnMyv0m4Rpvh/bnCi7",
		"$argon2id$v=19$m=64,t=2,p=1$c29tZXNhbHQ$Bo1ismRVk2qm6+YAYLCmWHDb+j3fjUH3",
	} {
		if ok, err := p.Verify(t.Context(), "password", phc); err != nil || !ok {
			t.Errorf("%s: %v, %v", phc, ok, err)
		}
		if ok, err := p.Verify(t.Context(), "Password", phc); err != nil || ok {
			t.Errorf("%s with another password: %v, %v", phc, ok, err)
		}
	}
}

func TestHashesThatAreNotTaken(t *testing.T) {
	const salt, key = "c29tZXNhbHQ", "ZVrRXqxlLcWfcXCnMyv0m4Rpvh/bnCi7"
	phc := func(params string) string { return "$argon2id$v=19$" + params + "$" + salt + "$" + key }
	p := NewPasswords(1, 0, cheap)
	for name, hash := range map[string]string{
		"empty":                 "",
		"a password":            "correct horse",
		"bcrypt":                "$2a$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy",
		"argon2i":               strings.Replace(phc("m=64,t=1,p=1"), "argon2id", "argon2i", 1),
		"another version":       strings.Replace(phc("m=64,t=1,p=1"), "v=19", "v=16", 1),
		"a gigabyte":            phc("m=1048576,t=1,p=1"),
		"a thousand passes":     phc("m=64,t=1000,p=1"),
		"many lanes":            phc("m=64,t=1,p=5"),
		"no memory":             phc("m=0,t=1,p=1"),
		"no passes":             phc("m=64,t=0,p=1"),
		"no lanes":              phc("m=64,t=1,p=0"),
		"memory below 8 a lane": phc("m=31,t=1,p=4"),
		"negative":              phc("m=-64,t=1,p=1"),
		"too large":             phc("m=99999999999999999999,t=1,p=1"),
		"order":                 phc("t=1,m=64,p=1"),
		"one missing":           phc("m=64,t=1"),
		"one more":              phc("m=64,t=1,p=1,x=1"),
		"short salt":            "$argon2id$v=19$m=64,t=1,p=1$c2FsdA$" + key,
		"short key":             "$argon2id$v=19$m=64,t=1,p=1$" + salt + "$c2FsdA",
		"long key":              "$argon2id$v=19$m=64,t=1,p=1$" + salt + "$" + strings.Repeat("AAAA", 30),
		"not base64":            "$argon2id$v=19$m=64,t=1,p=1$" + salt + "$???",
		"a part more":           phc("m=64,t=1,p=1") + "$x",
		"10 KB":                 phc("m=64,t=1,p=1" + strings.Repeat(" ", 10_000)),
	} {
		t.Run(name, func(t *testing.T) {
			ok, err := p.Verify(t.Context(), "password", hash)
			if ok || !errors.Is(err, ErrHash) {
				t.Fatalf("%v, %v", ok, err)
			}
			if hash != "" && strings.Contains(err.Error(), hash) {
				t.Fatalf("the error tells the hash: %v", err)
			}
		})
	}
}

func TestThePoolIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPasswords(2, 1, cheap)
		p.working <- struct{}{} // two hashes are being computed
		p.working <- struct{}{}
		type result struct {
			phc string
			err error
		}
		waiting := make(chan result, 1)
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			phc, err := p.Hash(ctx, "a password")
			waiting <- result{phc, err}
		}()
		synctest.Wait()
		_, err := p.Hash(t.Context(), "a password")
		if !errors.Is(err, ErrBusy) || !errors.Is(err, entity.ErrOverloaded) || !entity.Retryable(err) {
			t.Fatalf("with the queue full: %v", err)
		}
		cancel()
		if r := <-waiting; !errors.Is(r.err, context.Canceled) {
			t.Fatalf("given up: %v", r.err)
		}
		go func() {
			phc, err := p.Hash(t.Context(), "a password")
			waiting <- result{phc, err}
		}()
		synctest.Wait()
		<-p.working // one is done
		if r := <-waiting; r.err != nil || r.phc == "" {
			t.Fatalf("its turn came: %v", r.err)
		}
		<-p.working
		if _, err := p.Hash(t.Context(), "a password"); err != nil {
			t.Fatalf("places were lost: %v", err)
		}
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := p.Hash(gone, "a password"); !errors.Is(err, context.Canceled) {
			t.Fatalf("given up before it began: %v", err)
		}
		if p.waiting.Load() != 0 || len(p.working) != 0 {
			t.Fatalf("%d waiting, %d working", p.waiting.Load(), len(p.working))
		}
	})
}

func TestPasswordPolicy(t *testing.T) {
	const email = "ada.lovelace@example.com"
	for _, tc := range []struct {
		password string
		want     commonpb.Reason // 0: taken
	}{
		{"correct horse", 0},
		{"pässwörter", 0},
		{strings.Repeat("ab", 36), 0},
		{strings.Repeat("ab", 36) + "c", commonpb.Reason_REASON_INVALID},
		{strings.Repeat("x", 10_000), commonpb.Reason_REASON_INVALID},
		{"correct\xffhorse", commonpb.Reason_REASON_INVALID},
		{"", commonpb.Reason_REASON_WEAK_PASSWORD},
		{"seven77", commonpb.Reason_REASON_WEAK_PASSWORD},
		{"password", commonpb.Reason_REASON_WEAK_PASSWORD},
		{"PassWord123", commonpb.Reason_REASON_WEAK_PASSWORD},
		{"12345678", commonpb.Reason_REASON_WEAK_PASSWORD},
		{"aaaaaaaaaaaa", commonpb.Reason_REASON_WEAK_PASSWORD},
		{"xxAda.Lovelace1", commonpb.Reason_REASON_WEAK_PASSWORD},
		{email, commonpb.Reason_REASON_WEAK_PASSWORD},
	} {
		r := checkPassword(tc.password, email, "password")
		if r.GetReason() != tc.want {
			t.Errorf("%.20q: %v, want %v", tc.password, r, tc.want)
		}
		if r != nil && (len(r.Field) != 1 || r.Field[0] != "password" || r.Message == "") {
			t.Errorf("%.20q: %v", tc.password, r)
		}
	}
	if r := checkPassword("jonquil flower", "jo@example.com", "password"); r != nil {
		t.Errorf("a name of two letters: %v", r)
	}
}

func BenchmarkHash(b *testing.B) {
	p := NewPasswords(1, 0)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.Hash(b.Context(), "correct horse"); err != nil {
			b.Fatal(err)
		}
	}
}
