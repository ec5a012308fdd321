// Account operations, as the API has them: each checks what only the gateway
// can (addresses, passwords, tokens), asks the account's actor, and hands out
// tokens. Looking after oneself and others is in profile.go.
package auth

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"stampede/actors/account"
	"stampede/actors/entity"
	"stampede/proto/gen/accountpb"
	"stampede/proto/gen/commonpb"
)

// Caller sends a command to an actor and waits for its answer.
type Caller interface {
	Call(ctx context.Context, to entity.Address, cmd proto.Message) (proto.Message, error)
}

// Session is a user who is logged in, with what proves it.
type Session struct {
	User         *accountpb.User
	AccessToken  string
	RefreshToken string
	// ExpiresAt is when the access token expires.
	ExpiresAt time.Time
}

// Accounts is the account operations. A refusal is a business outcome, its
// field the path into the API's input; an error is a fault. Nothing of it logs,
// and no error has an address, a password, a hash or a token in it. Safe for use
// by several goroutines.
type Accounts struct {
	caller    Caller
	tokens    *Tokens
	passwords *Passwords
	refresh   refreshTokens
	apiKeys   apiKeys
	strangers *strangers
	secret    []byte
	// failedAt is the grid in time on which failed log-ins are answered.
	failedAt time.Duration
	clock    func() time.Time
}

// NewAccounts keys account ids and refresh tokens with the secret, which must
// be the same on all nodes and for ever: with another one, nobody's account is
// found.
func NewAccounts(caller Caller, tokens *Tokens, passwords *Passwords, secret []byte, clock func() time.Time, options ...AccountsOption) *Accounts {
	if len(secret) == 0 {
		panic("account ids without a secret would tell whose they are")
	}
	a := &Accounts{
		caller: caller, tokens: tokens, passwords: passwords, refresh: newRefreshTokens(secret),
		apiKeys:   newAPIKeys(secret),
		strangers: newStrangers(), secret: secret, clock: clock, failedAt: failedLogInGrid,
	}
	for _, o := range options {
		o(a)
	}
	return a
}

// AccountsOption changes Accounts from what they are by default.
type AccountsOption func(*Accounts)

// WithFailedLogInGrid sets at which multiples of time failed log-ins are
// answered, so that how long one took tells nobody whether the address is known.
// 0: as soon as they have failed, which tells.
func WithFailedLogInGrid(d time.Duration) AccountsOption {
	return func(a *Accounts) { a.failedAt = d }
}

// Register makes an account and logs in.
func (a *Accounts) Register(ctx context.Context, email, password, name string) (*Session, *commonpb.Refusal, error) {
	email, r := normalise(email)
	if r == nil {
		r = checkPassword(password, email, "password")
	}
	if r != nil {
		return nil, r, nil
	}
	hash, err := a.passwords.Hash(ctx, password)
	if err != nil {
		return nil, nil, err
	}
	token, said := a.refresh.issue(account.ID(a.secret, email), "")
	return a.open(ctx, token, said, &accountpb.Register{Email: email, Name: name, PasswordHash: hash, Session: a.session(said)})
}

// LogIn starts a session. An address that nobody has registered takes the same
// work and gets the same answers as a wrong password.
func (a *Accounts) LogIn(ctx context.Context, email, password string) (*Session, *commonpb.Refusal, error) {
	email, r := normalise(email)
	if r == nil {
		r = checkLength(password, "password")
	}
	if r != nil {
		return nil, r, nil
	}
	id := account.ID(a.secret, email)
	hash, r, err := a.checkPresent(ctx, id, password)
	if r != nil || err != nil {
		return nil, r, err
	}
	token, said := a.refresh.issue(id, "")
	return a.open(ctx, token, said, &accountpb.StartSession{PasswordHash: hash, Session: a.session(said)})
}

// Refresh exchanges a refresh token for the next one. A token that was
// exchanged before ends its session.
func (a *Accounts) Refresh(ctx context.Context, refreshToken string) (*Session, *commonpb.Refusal, error) {
	presented, ok := a.refresh.read(refreshToken)
	if !ok {
		return nil, badRefreshToken(), nil
	}
	token, next := a.refresh.issue(presented.userID, presented.family)
	return a.open(ctx, token, next, &accountpb.Rotate{
		FamilyId: presented.family, PresentedHash: presented.hash, NextHash: next.hash, ExpiresAtMs: a.session(next).ExpiresAtMs,
	})
}

// LogOut ends the session of the refresh token or, with everywhere, all of the
// user's. To end one that is over already is no error.
func (a *Accounts) LogOut(ctx context.Context, refreshToken string, everywhere bool) (*commonpb.Refusal, error) {
	presented, ok := a.refresh.read(refreshToken)
	if !ok {
		return badRefreshToken(), nil
	}
	_, r, err := a.user(ctx, presented.userID, &accountpb.EndSession{
		FamilyId: presented.family, PresentedHash: presented.hash, Everywhere: everywhere,
	})
	return r, err
}

// ChangePassword ends all of the user's sessions and starts one.
func (a *Accounts) ChangePassword(ctx context.Context, userID, current, next string) (*Session, *commonpb.Refusal, error) {
	user, r, err := a.Get(ctx, userID)
	if r != nil || err != nil {
		return nil, r, err
	}
	if r = checkLength(current, "current"); r == nil {
		r = checkPassword(next, user.Email, "new")
	}
	if r == nil && next == current {
		r = weak("must be another than the present one", "new")
	}
	if r != nil {
		return nil, r, nil
	}
	hash, r, err := a.checkPresent(ctx, userID, current)
	if r.GetReason() == commonpb.Reason_REASON_BAD_CREDENTIALS {
		r = refusal(r.Reason, "the present password is not right", "current")
	}
	if r != nil || err != nil {
		return nil, r, err
	}
	nextHash, err := a.passwords.Hash(ctx, next)
	if err != nil {
		return nil, nil, err
	}
	token, said := a.refresh.issue(userID, "")
	return a.open(ctx, token, said, &accountpb.ChangePassword{OldPasswordHash: hash, NewPasswordHash: nextHash, Session: a.session(said)})
}

// failedLogInGrid: a failed log-in is answered at a whole multiple of it after it
// came. A known address's failure waits for a commit and an unknown one's does
// not: neither shows.
const failedLogInGrid = 100 * time.Millisecond

// evenOut waits until the answer to a log-in that failed is due.
func (a *Accounts) evenOut(ctx context.Context, came time.Time) {
	if a.failedAt <= 0 {
		return
	}
	timer := time.NewTimer(a.failedAt - time.Since(came)%a.failedAt)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done(): // whoever asked has gone
	}
}

// checkPresent checks a password against the account's and returns the hash
// that it fits. A failure is counted, and too many of them lock the account.
func (a *Accounts) checkPresent(ctx context.Context, id, password string) (string, *commonpb.Refusal, error) {
	came, now := time.Now(), a.clock()
	present, err := ask[*accountpb.Credentials](ctx, a, id, &accountpb.GetCredentials{})
	if err != nil {
		return "", nil, err
	}
	known := present.Refusal == nil
	left := time.UnixMilli(present.LockedUntilMs).Sub(now)
	if !known {
		left = a.strangers.lockedFor(id, now)
	}
	if left > 0 {
		r := refusal(commonpb.Reason_REASON_THROTTLED, "too many failed log-ins: wait and try again")
		r.RetryAfterMs = max(left.Milliseconds(), 1)
		return "", r, nil
	}
	right := false
	if known {
		right, err = a.passwords.Verify(ctx, password, present.PasswordHash)
	} else {
		err = a.passwords.Pretend(ctx, password)
	}
	if err != nil {
		return "", nil, fmt.Errorf("account %s: %w", id, err)
	}
	if right {
		return present.PasswordHash, nil, nil
	}
	if !known {
		a.strangers.fail(id, a.clock())
	}
	if _, err := ask[*accountpb.Credentials](ctx, a, id, &accountpb.RecordFailedLogIn{AttemptId: attemptID()}); err != nil {
		return "", nil, err
	}
	a.evenOut(ctx, came)
	return "", refusal(commonpb.Reason_REASON_BAD_CREDENTIALS, "the e-mail address or the password is not right"), nil
}

// attemptID names one failed log-in, so that it is counted once however often
// the command that says so is sent.
func attemptID() []byte {
	id := make([]byte, account.AttemptIDBytes)
	rand.Read(id) // it never fails
	return id
}

// open asks for what gives the user a session with the refresh token, and adds
// an access token.
func (a *Accounts) open(ctx context.Context, token string, said refreshToken, cmd proto.Message) (*Session, *commonpb.Refusal, error) {
	user, r, err := a.user(ctx, said.userID, cmd)
	if r != nil || err != nil {
		return nil, r, err
	}
	access, expires, err := a.tokens.Issue(user.GetId(), RolesOf(user.GetRoles()), a.clock())
	if err != nil {
		return nil, nil, err
	}
	return &Session{User: user, AccessToken: access, RefreshToken: token, ExpiresAt: expires}, nil, nil
}

func (a *Accounts) session(t refreshToken) *accountpb.Session {
	return &accountpb.Session{FamilyId: t.family, TokenHash: t.hash, ExpiresAtMs: a.clock().Add(RefreshLifetime).UnixMilli()}
}

// user sends a command that is answered with the user.
func (a *Accounts) user(ctx context.Context, id string, cmd proto.Message) (*accountpb.User, *commonpb.Refusal, error) {
	reply, err := ask[*accountpb.UserReply](ctx, a, id, cmd)
	if err != nil {
		return nil, nil, err
	}
	return reply.User, reply.Refusal, nil
}

func ask[R proto.Message](ctx context.Context, a *Accounts, id string, cmd proto.Message) (R, error) {
	var none R
	name := cmd.ProtoReflect().Descriptor().Name()
	reply, err := a.caller.Call(ctx, entity.Address{Kind: account.Name, ID: id}, cmd)
	if err != nil {
		return none, fmt.Errorf("%s account %s: %w", name, id, err)
	}
	answer, ok := reply.(R)
	if !ok {
		return none, fmt.Errorf("%s account %s: %w: %T", name, id, ErrReply, reply)
	}
	return answer, nil
}

func normalise(email string) (string, *commonpb.Refusal) {
	email, err := account.Normalise(email)
	if err != nil {
		return "", refusal(commonpb.Reason_REASON_INVALID, err.Error(), "email")
	}
	return email, nil
}

func badRefreshToken() *commonpb.Refusal {
	return refusal(commonpb.Reason_REASON_BAD_CREDENTIALS, "this is no refresh token of ours: log in again", "refreshToken")
}
