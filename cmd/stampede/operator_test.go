package main

// The operator of --bootstrap-admin where the first node of a cluster hosts no
// actors: nobody can make an account before one does.

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"stampede/actors/entity"
	"stampede/gateway/auth"
	"stampede/proto/gen/accountpb"
)

// laterHosted is asked for accounts that nobody hosts before that time.
type laterHosted struct{ from time.Time }

func (l laterHosted) Call(context.Context, entity.Address, proto.Message) (proto.Message, error) {
	if time.Now().Before(l.from) {
		return nil, entity.ErrUnavailable
	}
	return &accountpb.UserReply{User: &accountpb.User{Id: "usr_boss", CreatedAtMs: l.from.UnixMilli()}}, nil
}

func TestOperatorWaitsForANodeWithActors(t *testing.T) {
	for name, c := range map[string]struct {
		joined *joined
		after  time.Duration // somebody hosts accounts
		gone   time.Duration // the program is told to end; 0: never
		took   time.Duration
		want   error
	}{
		"somebody does":               {joined: &joined{}, took: 0},
		"somebody does soon":          {joined: &joined{}, after: 10500 * time.Millisecond, took: 11 * time.Second},
		"nobody does in a minute":     {joined: &joined{}, after: time.Hour, took: operatorFor, want: entity.ErrUnavailable},
		"it is told to end meanwhile": {joined: &joined{}, after: time.Hour, gone: 2500 * time.Millisecond, took: 2500 * time.Millisecond, want: context.Canceled},
		"a cluster of one":            {after: time.Hour, took: 0, want: entity.ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, end := context.WithCancel(t.Context())
				defer end()
				if c.gone > 0 {
					time.AfterFunc(c.gone, end)
				}
				n := &node{joined: c.joined, log: slog.New(slog.DiscardHandler)}
				n.config.BootAdmin, n.config.bootPassword = "boss@shop.example", "correct horse battery"
				accounts := auth.NewAccounts(laterHosted{time.Now().Add(c.after)}, nil, nil, make([]byte, auth.SecretBytes), time.Now)
				began := time.Now()
				err := n.ensureOperator(ctx, accounts)
				if took := time.Since(began); !errors.Is(err, c.want) || took != c.took {
					t.Errorf("%v after %s, want %v after %s", err, took, c.want, c.took)
				}
				if made := c.want == nil; n.operatorMade != made || (n.operator == "usr_boss") != made {
					t.Errorf("the operator is %q, made %v", n.operator, n.operatorMade)
				}
			})
		})
	}
}
