package product

import (
	"fmt"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"stampede/proto/gen/productpb"
)

// Random commands, interleaved while they are under way and with restarts in
// between. After each: the state is what the events say and what a snapshot
// and the tail after it say; when all is quiet, every SKU of the product sells
// as the product says.
func TestHistories(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		h := newShop(rt)
		h.sku("foreign").owner = "prd_other"
		type command struct {
			cmd   proto.Message
			heard map[string]proto.Message
		}
		var open []*command
		snapshotAt, snapshot := 0, []byte(nil)

		step := func(i int) {
			c := open[i]
			d := h.decide(c.cmd, c.heard)
			switch {
			case d.Reply != nil:
				open = slices.Delete(open, i, i+1)
			case len(d.Asks) > 0:
				if c.heard == nil {
					c.heard = map[string]proto.Message{}
				}
				for _, a := range d.Asks {
					if _, ok := c.heard[a.Key]; !ok {
						c.heard[a.Key] = h.answer(a)
					}
				}
			default:
				c.heard = nil
			}
		}
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			switch rapid.SampledFrom([]string{"new", "step", "step", "step", "continue", "restart", "snapshot"}).Draw(rt, "what") {
			case "new":
				if len(open) < 4 {
					open = append(open, &command{cmd: drawCommand(rt)})
				}
			case "step":
				if len(open) > 0 {
					step(rapid.IntRange(0, len(open)-1).Draw(rt, "which"))
				}
			case "continue":
				h.follow()
			case "restart":
				open = nil
				h.s = replay(New(ID(slug)), h.events)
			case "snapshot":
				snapshotAt = len(h.events)
				var err error
				if snapshot, err = proto.Marshal(Snapshot(h.s)); err != nil {
					rt.Fatal(err)
				}
			}
			requireSame(rt, replay(New(ID(slug)), h.events), h.s)
			if snapshot != nil {
				restored, err := Restore(ID(slug), snapshot)
				if err != nil {
					rt.Fatal(err)
				}
				requireSame(rt, replay(restored, h.events[snapshotAt:]), h.s)
			}
			if v := h.s.version(); v != int64(len(h.events)) {
				rt.Fatalf("version %d after %d events", v, len(h.events))
			}
		}
		for range 50 {
			h.follow()
			if len(open) == 0 {
				break
			}
			step(0)
		}
		if len(open) > 0 {
			rt.Fatalf("no answer to %v", open[0].cmd)
		}
		requireConfigured(rt, h)
	})
}

func drawCommand(rt *rapid.T) proto.Message {
	variants := func() []*productpb.Variant {
		var out []*productpb.Variant
		for _, sku := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"A", "B", "C", "D", "foreign"}), 1, 3, rapid.ID).Draw(rt, "skus") {
			out = append(out, variant(sku, func(v *productpb.Variant) { v.Price.MinorUnits = rapid.Int64Range(0, 3).Draw(rt, "price") }))
		}
		return out
	}
	switch rapid.SampledFrom([]string{"create", "update", "update", "get"}).Draw(rt, "command") {
	case "create":
		return creation(func(c *productpb.Create) {
			c.IdempotencyKey = rapid.SampledFrom([]string{"k1", "k1", "k2"}).Draw(rt, "key")
			c.Variants = variants()
		})
	case "update":
		u := &productpb.Update{IfVersion: rapid.SampledFrom([]int64{0, 0, 2, 4}).Draw(rt, "ifVersion")}
		if rapid.Bool().Draw(rt, "with id") {
			u.CommandId = fmt.Sprint("c", rapid.IntRange(0, 20).Draw(rt, "id"))
		}
		if rapid.Bool().Draw(rt, "with variants") {
			u.ReplaceVariants, u.Variants = true, variants()
		}
		if rapid.Bool().Draw(rt, "with published") {
			u.Published = proto.Bool(rapid.Bool().Draw(rt, "published"))
		}
		return u
	}
	return &productpb.Get{}
}

func replay(s *State, events []*productpb.Event) *State {
	for _, e := range events {
		Evolve(s, e)
	}
	return s
}

func requireSame(rt *rapid.T, got, want *State) {
	if !proto.Equal(Snapshot(got), Snapshot(want)) {
		rt.Fatalf("state differs:\n got %v\nwant %v", Snapshot(got), Snapshot(want))
	}
}

func requireConfigured(rt *rapid.T, h *shop) {
	p := h.s.product
	if p == nil {
		return
	}
	if n := len(p.Retired) + len(p.Variants); n > MaxOwnedSKUs {
		rt.Fatalf("owns %d SKUs", n)
	}
	for _, v := range p.Variants {
		k := h.sku(v.Sku)
		if k.owner != p.Id || k.last.Active != p.Published || k.last.Price.MinorUnits != v.Price.MinorUnits || k.stocked != 1 {
			rt.Fatalf("SKU %s: owner %q, sells as %v, the product says %v (published %v)", v.Sku, k.owner, k.last, v, p.Published)
		}
	}
	for _, v := range p.Retired {
		if k := h.sku(v.Sku); k.owner != p.Id || k.last.Active {
			rt.Fatalf("retired SKU %s: owner %q, %v", v.Sku, k.owner, k.last)
		}
	}
	if h.sku("foreign").owner != "prd_other" {
		rt.Fatal("took another product's SKU")
	}
}

func TestRestore(t *testing.T) {
	s, err := Restore("prd_x", nil)
	if err != nil || s.product != nil || s.id != "prd_x" {
		t.Fatalf("an empty snapshot: %+v, %v", s, err)
	}
	if _, err := Restore("prd_x", []byte{0xff}); err == nil {
		t.Fatal("took a broken snapshot")
	}
	h := newShop(t)
	h.created()
	b, err := proto.Marshal(Snapshot(h.s))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Restore("prd_x", b); err == nil {
		t.Fatal("took another product's snapshot")
	}
}

func TestEvolveRefusesWhatCannotBe(t *testing.T) {
	created := func() *State { h := newShop(t); h.created(); return h.s }
	updating := func() *State {
		h := newShop(t)
		h.created()
		h.decide(&productpb.Update{Name: proto.String("x")}, nil)
		return h.s
	}
	for _, tc := range []struct {
		name  string
		state *State
		event *productpb.Event
	}{
		{"created twice", created(), &productpb.Event{Event: &productpb.Event_Created{Created: &productpb.Created{Product: &productpb.Product{Id: ID(slug), Version: 1}}}}},
		{"created as another", New(ID(slug)), &productpb.Event{Event: &productpb.Event_Created{Created: &productpb.Created{Product: &productpb.Product{Id: "prd_x", Version: 1}}}}},
		{"updated before it is", New(ID(slug)), &productpb.Event{Event: &productpb.Event_Updated{Updated: &productpb.Updated{}}}},
		{"updated while configuring", updating(), &productpb.Event{Event: &productpb.Event_Updated{Updated: &productpb.Updated{}}}},
		{"removed what it has not", created(), &productpb.Event{Event: &productpb.Event_Updated{Updated: &productpb.Updated{Removed: []string{"?"}}}}},
		{"configured out of turn", created(), &productpb.Event{Event: &productpb.Event_SkusConfigured{SkusConfigured: &productpb.SkusConfigured{ProductVersion: 3}}}},
		{"configured another version", updating(), &productpb.Event{Event: &productpb.Event_SkusConfigured{SkusConfigured: &productpb.SkusConfigured{ProductVersion: 2}}}},
		{"nothing", created(), &productpb.Event{}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Fatal("applied")
				}
			}()
			Evolve(tc.state, tc.event)
		})
	}
}
