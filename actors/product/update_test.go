package product

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"stampede/proto/gen/commonpb"
	"stampede/proto/gen/productpb"
	"stampede/proto/gen/skupb"
)

func TestUpdateChangesOnlyWhatIsGiven(t *testing.T) {
	h := newShop(t)
	before := h.created()
	h.now = h.now.Add(time.Minute)
	for _, tc := range []struct {
		name   string
		update *productpb.Update
		change func(*productpb.Product)
	}{
		{"name", &productpb.Update{Name: proto.String("Linen")}, func(p *productpb.Product) { p.Name = "Linen" }},
		{"description", &productpb.Update{Description: proto.String("")}, func(p *productpb.Product) { p.Description = "" }},
		{"image", &productpb.Update{ImageUrl: proto.String("/x.png")}, func(p *productpb.Product) { p.ImageUrl = "/x.png" }},
		{"published", &productpb.Update{Published: proto.Bool(false)}, func(p *productpb.Product) { p.Published = false }},
		{
			"variants",
			&productpb.Update{ReplaceVariants: true, Variants: []*productpb.Variant{variant("M", func(v *productpb.Variant) { v.InitialStock = 99 })}},
			func(p *productpb.Product) { p.Variants = p.Variants[1:] }, // M keeps the initial stock that it had
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := h.do(tc.update).Product
			want := proto.CloneOf(before)
			tc.change(want)
			want.Version, want.ConfiguredVersion, want.UpdatedAtMs = before.Version+2, before.Version+2, h.now.UnixMilli()
			wantEqual(t, "product", got, want)
			wantEqual(t, "get", h.do(&productpb.Get{}).Product, want)
			before = want
		})
	}
	u := h.events[2].GetUpdated()
	if u.Slug != slug || u.Name != "Linen" || len(u.Variants) != 2 {
		t.Fatalf("the event is not whole: %v", u)
	}
}

func TestUpdateWithoutAChangeWritesNothing(t *testing.T) {
	h := newShop(t)
	before := h.created()
	n := len(h.events)
	for _, u := range []*productpb.Update{{}, {Name: proto.String(before.Name)}, {IfVersion: 2, ReplaceVariants: true, Variants: cloneVariants(before.Variants)}} {
		wantEqual(t, "product", h.do(u).Product, before)
	}
	if len(h.events) != n {
		t.Fatalf("%d events more", len(h.events)-n)
	}
}

func TestUpdateRefusals(t *testing.T) {
	h := newShop(t)
	wantRefusal(t, h.do(&productpb.Update{Name: proto.String("x")}), commonpb.Reason_REASON_NOT_FOUND, "id")
	h.created()
	n := len(h.events)
	for _, tc := range []struct {
		name   string
		update *productpb.Update
		reason commonpb.Reason
		field  string
	}{
		{"old version", &productpb.Update{IfVersion: 1, Name: proto.String("x")}, commonpb.Reason_REASON_VERSION_CONFLICT, "ifVersion"},
		{"version to come", &productpb.Update{IfVersion: 3, Name: proto.String("x")}, commonpb.Reason_REASON_VERSION_CONFLICT, "ifVersion"},
		{"negative version", &productpb.Update{IfVersion: -1}, commonpb.Reason_REASON_INVALID, "ifVersion"},
		{"empty name", &productpb.Update{Name: proto.String("")}, commonpb.Reason_REASON_INVALID, "name"},
		{"no variants left", &productpb.Update{ReplaceVariants: true}, commonpb.Reason_REASON_INVALID, "variants"},
		{"variants not to replace", &productpb.Update{Variants: []*productpb.Variant{variant("A")}}, commonpb.Reason_REASON_INVALID, "variants"},
		{"bad variant", &productpb.Update{ReplaceVariants: true, Variants: []*productpb.Variant{variant("A"), variant("b c")}}, commonpb.Reason_REASON_INVALID, "variants 1 sku"},
		{"command id", &productpb.Update{CommandId: strings.Repeat("c", 65)}, commonpb.Reason_REASON_INVALID, "commandId"},
		{"made-up hash", &productpb.Update{CommandId: "#1"}, commonpb.Reason_REASON_INVALID, "commandId"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := wantRefusal(t, h.do(tc.update), tc.reason, strings.Split(tc.field, " ")...)
			if tc.reason == commonpb.Reason_REASON_VERSION_CONFLICT && r.CurrentVersion != 2 {
				t.Fatalf("current version %d, want 2", r.CurrentVersion)
			}
		})
	}
	if len(h.events) != n {
		t.Fatal("a refusal wrote something")
	}
}

func TestUpdateClaimsNewSKUsAndRetiresOldOnes(t *testing.T) {
	h := newShop(t)
	h.created()
	u := &productpb.Update{ReplaceVariants: true, Variants: []*productpb.Variant{variant("M"), variant("L")}}
	d := h.decide(u, nil)
	wantEqual(t, "claims", skusOf(d.Asks), []string{"L"})
	wantEqual(t, "claim", d.Asks[0].Command, &skupb.Configure{
		ProductId: ID(slug), ProductVersion: 3, Name: "Linen shirt, Size L", Price: u.Variants[1].Price, InitialStock: 10,
	})
	d = h.decide(u, map[string]proto.Message{d.Asks[0].Key: h.answer(d.Asks[0])})
	wantEqual(t, "removed", d.Events[0].GetUpdated().Removed, []string{"S"})
	if d = h.decide(u, nil); d.Reply != nil || len(d.Events)+len(d.Asks) != 0 {
		t.Fatalf("the update must wait until the SKUs are configured: %+v", d)
	}
	active := map[string]bool{}
	for _, a := range Pending(h.s) {
		c := a.Command.(*skupb.Configure)
		if c.ProductVersion != 4 || c.Price == nil {
			t.Fatalf("configuration %v", c)
		}
		active[a.ID] = c.Active
	}
	wantEqual(t, "active", active, map[string]bool{"M": true, "L": true, "S": false})
	h.follow()
	if got := h.decide(u, nil).Reply.(*productpb.ProductReply).Product; got.Version != 4 || len(got.Retiring) != 0 {
		t.Fatalf("reply %v", got)
	}

	// S is still the product's: to sell it again needs no claim, and a refused claim beside it does not give it away.
	h.sku("T").owner = "prd_other"
	r := h.do(&productpb.Update{ReplaceVariants: true, Variants: []*productpb.Variant{variant("S"), variant("U"), variant("T")}})
	wantRefusal(t, r, commonpb.Reason_REASON_CONFLICT, "variants", "2", "sku")
	if h.sku("S").owner != ID(slug) || h.sku("U").owner != "" || h.sku("L").owner != ID(slug) {
		t.Fatalf("owners: S %q U %q L %q", h.sku("S").owner, h.sku("U").owner, h.sku("L").owner)
	}
	h.do(&productpb.Update{ReplaceVariants: true, Variants: []*productpb.Variant{variant("S")}})
	if k := h.sku("S"); !k.last.Active || k.stocked != 1 || h.sku("M").last.Active {
		t.Fatalf("S %+v, M %+v", k, h.sku("M"))
	}
}

func TestUpdateWaitsForTheOneBefore(t *testing.T) {
	h := newShop(t)
	h.created()
	a, b := &productpb.Update{Name: proto.String("A")}, &productpb.Update{Name: proto.String("B")}
	h.decide(a, nil)
	if d := h.decide(b, nil); d.Reply != nil || len(d.Events)+len(d.Asks) != 0 {
		t.Fatalf("decided while the one before is under way: %+v", d)
	}
	if got := h.do(&productpb.Get{}).Product; got.Name != "A" || got.Version != 3 || got.ConfiguredVersion != 2 {
		t.Fatalf("get meanwhile: %v", got)
	}
	h.follow()
	if got := h.do(a).Product; got.Name != "A" {
		t.Fatalf("a is answered with %v", got)
	}
	if got := h.do(b).Product; got.Name != "B" || got.Version != 6 {
		t.Fatalf("b is answered with %v", got)
	}
}

// A claim was heard, and then another update came first: the claim is given back.
func TestWhatAWaitingUpdateHasClaimedIsGivenBack(t *testing.T) {
	h := newShop(t)
	h.created()
	u := &productpb.Update{IfVersion: 2, ReplaceVariants: true, Variants: []*productpb.Variant{variant("S"), variant("L")}}
	ask := h.decide(u, nil).Asks[0]
	heard := map[string]proto.Message{ask.Key: h.answer(ask)}
	h.decide(&productpb.Update{Name: proto.String("B")}, nil)
	d := h.decide(u, heard)
	wantEqual(t, "given back", skusOf(d.Asks), []string{"L"})
	heard[d.Asks[0].Key] = h.answer(d.Asks[0])
	if d = h.decide(u, heard); d.Reply != nil || len(d.Asks) != 0 {
		t.Fatalf("want it to wait, got %+v", d)
	}
	h.follow()
	wantRefusal(t, h.do(u), commonpb.Reason_REASON_VERSION_CONFLICT, "ifVersion")
	if h.sku("L").owner != "" {
		t.Fatal("L was not given back")
	}
}

func TestARepeatedUpdateIsAnsweredNotApplied(t *testing.T) {
	h := newShop(t)
	h.created()
	named := func(name, id string) *productpb.Update { return &productpb.Update{Name: &name, CommandId: id} }
	h.do(named("A", "1"))
	h.do(named("B", "2"))
	n := len(h.events)
	if got := h.do(named("A", "1")).Product; got.Name != "B" || len(h.events) != n {
		t.Fatalf("applied again: %v", got)
	}
	if got := h.do(named("A", "3")).Product; got.Name != "A" {
		t.Fatalf("a new command was taken for an old one: %v", got)
	}
	// Without an id only an immediate repeat is recognised.
	h.do(named("C", ""))
	n = len(h.events)
	ifVersion := &productpb.Update{Name: proto.String("D"), IfVersion: h.s.product.Version}
	h.do(ifVersion)
	if got := h.do(ifVersion).Product; got == nil || got.Name != "D" || len(h.events) != n+2 {
		t.Fatalf("the immediate repeat: %v", got)
	}
	if got := h.do(named("C", "")).Product; got.Name != "C" {
		t.Fatalf("to set C again was taken for a repeat: %v", got)
	}
	for i := range MaxAppliedUpdates + 5 {
		h.do(named(fmt.Sprint("n", i), fmt.Sprint("id", i)))
	}
	if n := len(h.s.product.Applied); n != MaxAppliedUpdates {
		t.Fatalf("%d updates remembered", n)
	}
}

func TestRefusedConfigurations(t *testing.T) {
	h := newShop(t)
	h.created()
	h.decide(&productpb.Update{ReplaceVariants: true, Variants: []*productpb.Variant{variant("M")}}, nil)
	answers := func(reason commonpb.Reason) map[string]proto.Message {
		out := map[string]proto.Message{}
		for _, a := range Pending(h.s) {
			out[a.Key] = &skupb.ConfigureReply{Refusal: &commonpb.Refusal{Reason: reason}}
		}
		return out
	}
	if d := h.decide(&commonpb.Continue{}, answers(commonpb.Reason_REASON_THROTTLED)); len(d.Events) != 0 || len(Pending(h.s)) != 2 {
		t.Fatalf("a passing refusal ended it: %+v", d)
	}
	d := h.decide(&commonpb.Continue{}, answers(commonpb.Reason_REASON_CONFLICT))
	wantEqual(t, "lost", d.Events[0].GetSkusConfigured(), &productpb.SkusConfigured{ProductVersion: 4, Lost: []string{"M", "S"}})
	if p := h.s.product; len(p.Variants)+len(p.Retired) != 0 || Pending(h.s) != nil {
		t.Fatalf("lost SKUs are still there: %v", p)
	}
	if d := h.decide(&commonpb.Continue{}, nil); len(d.Events) != 0 {
		t.Fatal("continued with nothing pending")
	}
}

func TestOwnedSKUsAreBounded(t *testing.T) {
	h := newShop(t)
	h.created()
	for i := range 20 {
		vs := make([]*productpb.Variant, MaxVariants)
		for j := range vs {
			vs[j] = variant(fmt.Sprintf("b%d-%d", i, j))
		}
		r := h.do(&productpb.Update{ReplaceVariants: true, Variants: vs})
		owned := 2 + (i+1)*MaxVariants
		if owned <= MaxOwnedSKUs {
			if r.Refusal != nil {
				t.Fatalf("with %d owned: %v", owned, r.Refusal)
			}
			continue
		}
		wantRefusal(t, r, commonpb.Reason_REASON_INVALID, "variants")
		return
	}
	t.Fatal("never refused")
}

func TestRepliesAreCopies(t *testing.T) {
	h := newShop(t)
	h.created()
	h.do(&productpb.Update{Name: proto.String("x")})
	for _, cmd := range []proto.Message{&productpb.Get{}, creation(), &productpb.Update{}} {
		want := proto.CloneOf(h.s.product)
		p := h.do(cmd).Product
		p.Name, p.Variants[0].Price.MinorUnits = "changed", 1
		wantEqual(t, "state", h.s.product, want)
		if p.IdempotencyKey != "" || p.InputHash != nil || p.Retired != nil || p.Applied != nil {
			t.Fatalf("%T shows what is the product's own: %v", cmd, p)
		}
	}
}

func TestCommandsOfOthers(t *testing.T) {
	h := newShop(t)
	wantRefusal(t, h.decide(&skupb.GetLevel{}, nil).Reply, commonpb.Reason_REASON_INVALID)
	if d := h.decide(&commonpb.Tick{}, nil); d.Reply != nil || len(d.Events) != 0 {
		t.Fatalf("a tick: %+v", d)
	}
}

func TestSKUNameIsBounded(t *testing.T) {
	if got := skuName("Shirt", ""); got != "Shirt" {
		t.Fatal(got)
	}
	if got := []rune(skuName(strings.Repeat("é", 200), strings.Repeat("ü", 200))); len(got) != 200 || slices.Contains(got, 'ü') {
		t.Fatalf("%d characters", len(got))
	}
}
