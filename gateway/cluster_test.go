package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"stampede/actors/entity"
	"stampede/gateway/resolve"
)

const (
	aMember    = "mem_aaaaaaaaaaaaaaaaaaaaaaaaaa"
	leftLately = "mem_bbbbbbbbbbbbbbbbbbbbbbbbbb"
	silent     = "mem_cccccccccccccccccccccccccc"
)

// aCluster is a cluster of two, one of which does not answer, and one that left.
type aCluster struct{}

func (aCluster) Members() []resolve.Member {
	since := time.UnixMilli(1_700_000_000_000)
	return []resolve.Member{
		{ID: aMember, Name: "one", Address: "10.0.0.1:7000", State: "UP", Version: "v1", Since: since},
		{ID: leftLately, Name: "two", Address: "10.0.0.2:7000", State: "DOWN", Version: "v1", Since: since},
		{ID: silent, Name: "three", Address: "10.0.0.3:7000", State: "UP", Version: "v2", Since: since},
	}
}

func (aCluster) Active(_ context.Context, member string) (map[string]int64, error) {
	if member != aMember {
		return nil, fmt.Errorf("%w: %s", entity.ErrTimeout, member)
	}
	return map[string]int64{"sku": 3, "order": 7}, nil
}

func (aCluster) Actor(_ context.Context, addr entity.Address) (resolve.Actor, error) {
	switch addr {
	case entity.Address{Kind: "order", ID: anOrder}:
		return resolve.Actor{Member: aMember, Active: true, Version: 9, SnapshotVersion: 4, Mailbox: 2, Unpublished: 1}, nil
	case entity.Address{Kind: "sku", ID: "NONE"}:
		return resolve.Actor{Member: aMember}, nil
	case entity.Address{Kind: "sku", ID: "MOVING"}:
		return resolve.Actor{}, fmt.Errorf("%w: moving", entity.ErrRetry)
	}
	return resolve.Actor{}, fmt.Errorf("%w: %q", entity.ErrUnknownKind, addr.Kind)
}

func (aCluster) Drain(_ context.Context, id string) error {
	switch id {
	case aMember:
		return nil
	case leftLately:
		return resolve.ErrNoMember
	case silent:
		return resolve.ErrAlone
	}
	return errors.New("never asked")
}

func TestOperatorsSeeTheCluster(t *testing.T) {
	w := newWorld(t)
	w.accounts.user = nil
	for _, c := range []struct{ name, query, want string }{
		{
			"members", `{ members { id name address state version since actors { kind active } } }`,
			`{"data":{"members":[` +
				`{"id":"` + aMember + `","name":"one","address":"10.0.0.1:7000","state":"UP","version":"v1","since":"2023-11-14T22:13:20.000Z","actors":[{"kind":"order","active":7},{"kind":"sku","active":3}]},` +
				`{"id":"` + leftLately + `","name":"two","address":"10.0.0.2:7000","state":"DOWN","version":"v1","since":"2023-11-14T22:13:20.000Z","actors":[]},` +
				`{"id":"` + silent + `","name":"three","address":"10.0.0.3:7000","state":"UP","version":"v2","since":"2023-11-14T22:13:20.000Z","actors":[]}]}}`,
		},
		{
			"actor", `{ actor(kind: "order", key: "` + anOrder + `") { kind key member active version snapshotVersion mailbox unpublished } }`,
			`{"data":{"actor":{"kind":"order","key":"` + anOrder + `","member":"` + aMember + `","active":true,"version":9,"snapshotVersion":4,"mailbox":2,"unpublished":1}}}`,
		},
		{"no such actor", `{ actor(kind: "sku", key: "NONE") { key } }`, `{"data":{"actor":null}}`},
		{"drain", `mutation { drainMember(input: {id: "` + aMember + `"}) { member { id state } userErrors { code } } }`, `{"data":{"drainMember":{"member":{"id":"` + aMember + `","state":"UP"},"userErrors":[]}}}`},
		{"drain who has left", `mutation { drainMember(input: {id: "` + leftLately + `"}) { member { id } userErrors { code field } } }`, `{"data":{"drainMember":{"member":null,"userErrors":[{"code":"NOT_FOUND","field":["id"]}]}}}`},
		{"drain the only one", `mutation { drainMember(input: {id: "` + silent + `"}) { member { id } userErrors { code field } } }`, `{"data":{"drainMember":{"member":null,"userErrors":[{"code":"CONFLICT","field":["id"]}]}}}`},
		{"drain what is no id", `mutation { drainMember(input: {id: "one"}) { member { id } userErrors { code field } } }`, `{"data":{"drainMember":{"member":null,"userErrors":[{"code":"INVALID","field":["id"]}]}}}`},
	} {
		got, _, _ := strings.Cut(w.ask(asOp, c.query, nil).text, `,"extensions"`)
		if diff := cmp.Diff(c.want, got+"}"); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
	for _, c := range []struct{ name, query, want string }{
		{"no such kind", `{ actor(kind: "cart", key: "x") { key } }`, "INVALID"},
		{"no key", `{ actor(kind: "sku", key: "") { key } }`, "INVALID"},
		{"on the move", `{ actor(kind: "sku", key: "MOVING") { key } }`, "UNAVAILABLE"},
	} {
		if got := w.ask(asOp, c.query, nil).code(); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}
