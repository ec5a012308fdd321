package product

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"stampede/proto/gen/commonpb"
	"stampede/proto/gen/productpb"
	"stampede/proto/gen/skupb"
)

var start = time.UnixMilli(1_700_000_000_000).UTC()

const slug = "linen-shirt"

func variant(sku string, change ...func(*productpb.Variant)) *productpb.Variant {
	v := &productpb.Variant{
		Sku: sku, Name: "Size " + sku, Price: &commonpb.Money{MinorUnits: 1990, Currency: "EUR"},
		AttributesJson: `{"size":"M"}`, InitialStock: 10,
	}
	for _, f := range change {
		f(v)
	}
	return v
}

func creation(change ...func(*productpb.Create)) *productpb.Create {
	c := &productpb.Create{
		Actor: &commonpb.Actor{UserId: "usr_staff", Staff: true}, IdempotencyKey: "k1", Slug: slug, Name: "Linen shirt",
		Description: "Light.\nAiry.", ImageUrl: "https://img.example/shirt.png", Published: true,
		Variants: []*productpb.Variant{variant("S"), variant("M")},
	}
	for _, f := range change {
		f(c)
	}
	return c
}

// fakeSKU keeps the rules that a product relies on: one owner, and what is
// older than what it has changes nothing.
type fakeSKU struct {
	owner   string
	version int64
	last    *skupb.Configure
	stocked int
}

// failer is a *testing.T or a *rapid.T.
type failer interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// shop is one product's actor and the SKUs around it, driven step by step.
type shop struct {
	t      failer
	s      *State
	events []*productpb.Event
	skus   map[string]*fakeSKU
	now    time.Time
}

func newShop(t failer) *shop {
	return &shop{t: t, s: New(ID(slug)), skus: map[string]*fakeSKU{}, now: start}
}

func (h *shop) sku(id string) *fakeSKU {
	if h.skus[id] == nil {
		h.skus[id] = &fakeSKU{}
	}
	return h.skus[id]
}

// answer is what the SKU says to an ask.
func (h *shop) answer(a Ask) proto.Message {
	k := h.sku(a.ID)
	switch c := a.Command.(type) {
	case *skupb.Configure:
		if k.owner != "" && k.owner != c.ProductId {
			return &skupb.ConfigureReply{Refusal: &commonpb.Refusal{Reason: commonpb.Reason_REASON_CONFLICT, Message: "owned"}}
		}
		if k.owner == "" {
			k.stocked++
		}
		if k.owner == "" || c.ProductVersion >= k.version {
			k.owner, k.version, k.last = c.ProductId, c.ProductVersion, c
		}
		return &skupb.ConfigureReply{Level: &skupb.Level{Sku: a.ID}}
	case *skupb.Unconfigure:
		if k.owner == c.ProductId && k.version <= c.ProductVersion {
			*k = fakeSKU{}
		}
		return &skupb.UnconfigureReply{}
	}
	h.t.Fatalf("a SKU was asked %T", a.Command)
	return nil
}

// decide decides once and applies the events; it fails if Decide changed the state.
func (h *shop) decide(cmd proto.Message, heard map[string]proto.Message) Decision {
	h.t.Helper()
	before := proto.Clone(Snapshot(h.s))
	d := Decide(h.s, cmd, h.now, heard)
	if diff := cmp.Diff(before, Snapshot(h.s), protocmp.Transform()); diff != "" {
		h.t.Fatalf("Decide(%T) changed the state (-before +after):\n%s", cmd, diff)
	}
	if d.Reply != nil && len(d.Asks) > 0 || len(d.Events) > 0 && len(d.Asks) > 0 {
		h.t.Fatalf("Decide(%T) both asks and decides: %+v", cmd, d)
	}
	for _, e := range d.Events {
		h.apply(e)
	}
	return d
}

func (h *shop) apply(e *productpb.Event) {
	h.t.Helper()
	stored, err := proto.Marshal(e)
	if err != nil {
		h.t.Fatalf("an event cannot be stored: %v", err)
	}
	read := &productpb.Event{}
	if err := proto.Unmarshal(stored, read); err != nil {
		h.t.Fatal(err)
	}
	h.events = append(h.events, read)
	Evolve(h.s, read)
}

// follow answers what Pending implies.
func (h *shop) follow() {
	h.t.Helper()
	for range 10 {
		asks := Pending(h.s)
		if len(asks) == 0 {
			return
		}
		heard := map[string]proto.Message{}
		for _, a := range asks {
			heard[a.Key] = h.answer(a)
		}
		h.decide(&commonpb.Continue{}, heard)
	}
	h.t.Fatal("follow-ups do not end")
}

// do sends a command and plays everything around it until there is an answer.
func (h *shop) do(cmd proto.Message) *productpb.ProductReply {
	h.t.Helper()
	var heard map[string]proto.Message
	for range 20 {
		d := h.decide(cmd, heard)
		switch {
		case d.Reply != nil:
			return d.Reply.(*productpb.ProductReply)
		case len(d.Asks) > 0:
			if heard == nil {
				heard = map[string]proto.Message{}
			}
			for _, a := range d.Asks {
				if _, ok := heard[a.Key]; !ok {
					heard[a.Key] = h.answer(a)
				}
			}
		default:
			heard = nil
			h.follow()
		}
	}
	h.t.Fatalf("%T gets no answer", cmd)
	return nil
}

func (h *shop) created() *productpb.Product {
	h.t.Helper()
	r := h.do(creation())
	if r.Refusal != nil {
		h.t.Fatalf("creation refused: %v", r.Refusal)
	}
	return r.Product
}

func skusOf(asks []Ask) []string {
	var out []string
	for _, a := range asks {
		out = append(out, a.ID)
	}
	slices.Sort(out)
	return out
}

func wantRefusal(t *testing.T, reply proto.Message, reason commonpb.Reason, field ...string) *commonpb.Refusal {
	t.Helper()
	r := reply.(*productpb.ProductReply).GetRefusal()
	if r == nil {
		t.Fatalf("accepted, want %v at %v", reason, field)
	}
	if r.Reason != reason || !slices.Equal(r.Field, field) {
		t.Fatalf("refused with %v at %q (%s), want %v at %q", r.Reason, r.Field, r.Message, reason, field)
	}
	if r.Message == "" {
		t.Fatal("the refusal does not say what would be right")
	}
	return r
}

func wantEqual(t *testing.T, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Fatalf("%s (-want +got):\n%s", what, diff)
	}
}
