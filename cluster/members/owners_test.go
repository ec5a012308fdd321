package members_test

import (
	"fmt"
	"math"
	"testing"

	"stampede/actors/entity"
	"stampede/cluster/members"
)

// view is n members whose IDs and addresses are as alike as those of a real cluster.
func view(n int) *members.View {
	v := &members.View{Version: uint64(n)}
	for i := range n {
		v.Members = append(v.Members, members.Member{
			ID: fmt.Sprintf("127.0.0.1:%d", 7001+i), Roles: []members.Role{members.Actors}, State: members.Up,
		})
	}
	return v
}

const addresses = 100_000

func address(i int) entity.Address {
	return entity.Address{Kind: "sku", ID: fmt.Sprintf("SKU-%06d", i)}
}

func TestSharesAreEven(t *testing.T) {
	for n := 2; n <= 9; n++ {
		owners := view(n).Owners()
		share := map[string]int{}
		for i := range addresses {
			share[owners.Of(address(i)).ID]++
		}
		want := float64(addresses) / float64(n)
		for id, got := range share {
			if off := math.Abs(float64(got)-want) / want; off > 0.03 {
				t.Errorf("of %d members %s owns %d, %.1f %% off an even share", n, id, got, 100*off)
			}
		}
		if len(share) != n {
			t.Errorf("%d of %d members own something", len(share), n)
		}
	}
}

// A member that joins takes its share from all, and nothing else moves; read
// backwards, so it is with one that leaves.
func TestOnlyTheNewcomersShareMoves(t *testing.T) {
	for n := 1; n < 9; n++ {
		before, after := view(n).Owners(), view(n+1).Owners()
		newcomer := view(n + 1).Members[n].ID
		moved := 0
		for i := range addresses {
			was, is := before.Of(address(i)).ID, after.Of(address(i)).ID
			if was == is {
				continue
			}
			moved++
			if is != newcomer {
				t.Fatalf("%v moved from %s to %s when %s joined", address(i), was, is, newcomer)
			}
		}
		if want := float64(addresses) / float64(n+1); math.Abs(float64(moved)-want) > 0.03*want {
			t.Errorf("%d moved to member %d, want about %.0f", moved, n+1, want)
		}
	}
}

func TestWhoOwnsNothing(t *testing.T) {
	v := view(4)
	v.Members[0].State = members.Draining
	v.Members[1].State = members.Joining
	v.Members[2].Roles = []members.Role{members.Gateway, members.Publisher}
	owners := v.Owners()
	for i := range 1000 {
		if got := owners.Of(address(i)).ID; got != v.Members[3].ID {
			t.Fatalf("%s owns %v", got, address(i))
		}
	}
	if owners.Has(v.Members[0].ID) || !owners.Has(v.Members[3].ID) {
		t.Error("one that drains has a share, or one that is up has none")
	}
	v.Members = v.Members[:3]
	if owners = v.Owners(); owners.Of(address(1)).ID != v.Members[0].ID || !owners.Has(v.Members[0].ID) {
		t.Error("the last one drains, and does not keep what there is")
	}
	v.Members = v.Members[1:]
	if got := v.Owners().Of(address(1)); got != nil {
		t.Errorf("%s owns something, and nobody may", got.ID)
	}
}

// Members of different releases must agree: these must never change.
func TestHashIsForEver(t *testing.T) {
	for addr, want := range map[entity.Address]uint64{
		{Kind: "sku", ID: "TEE-BLACK-M"}: goldenSKU,
		{Kind: "order", ID: "ord_a"}:     goldenOrder,
	} {
		if got := members.Hash(addr.Kind, addr.ID); got != want {
			t.Errorf("the hash of %v is %#x, and was %#x", addr, got, want)
		}
	}
}

func TestOwnersDoNotAllocate(t *testing.T) {
	owners, addr := view(5).Owners(), address(1)
	if n := testing.AllocsPerRun(100, func() { owners.Of(addr) }); n != 0 {
		t.Errorf("%v allocations a lookup", n)
	}
}

func BenchmarkOwnerOf(b *testing.B) {
	owners, addr := view(5).Owners(), address(1)
	for b.Loop() {
		owners.Of(addr)
	}
}

const (
	goldenSKU   uint64 = 0xcd6a0033feb98316
	goldenOrder uint64 = 0x91a6ff4af0f8a4d4
)
