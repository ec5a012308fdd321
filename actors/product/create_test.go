package product

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"stampede/proto/gen/commonpb"
	"stampede/proto/gen/productpb"
	"stampede/proto/gen/skupb"
)

func TestID(t *testing.T) {
	// base32(SHA-256("product\0linen-shirt")[:16]), computed independently.
	if got, want := ID(slug), "prd_fk5b35thgs4myril3b4bfcipai"; got != want {
		t.Fatalf("ID = %s, want %s", got, want)
	}
}

func TestCreateStepByStep(t *testing.T) {
	h := newShop(t)
	id := ID(slug)
	c := creation()

	d := h.decide(c, nil)
	if len(d.Asks) != 2 || len(d.Events) != 0 || d.Reply != nil {
		t.Fatalf("first decision: %+v", d)
	}
	for i, sku := range []string{"S", "M"} {
		wantEqual(t, "claim", d.Asks[i].Command, &skupb.Configure{
			ProductId: id, ProductVersion: 1, Name: "Linen shirt, Size " + sku, Price: c.Variants[i].Price, InitialStock: 10,
		})
		if d.Asks[i].Kind != "sku" || d.Asks[i].ID != sku {
			t.Fatalf("claim goes to %s/%s", d.Asks[i].Kind, d.Asks[i].ID)
		}
	}
	heard := map[string]proto.Message{d.Asks[0].Key: &skupb.ConfigureReply{}}
	if again := h.decide(c, heard); len(again.Asks) != 2 || len(again.Events) != 0 {
		t.Fatalf("with one claim unheard: %+v", again)
	}
	heard[d.Asks[1].Key] = &skupb.ConfigureReply{}

	d = h.decide(c, heard)
	if len(d.Events) != 1 || d.Reply != nil {
		t.Fatalf("all claims heard: %+v", d)
	}
	wantEqual(t, "event", d.Events[0], &productpb.Event{AtMs: start.UnixMilli(), Event: &productpb.Event_Created{Created: &productpb.Created{
		ActorId: "usr_staff",
		Product: &productpb.Product{
			Id: id, Slug: slug, Name: c.Name, Description: c.Description, ImageUrl: c.ImageUrl, Published: true, Variants: c.Variants,
			Version: 1, CreatedAtMs: start.UnixMilli(), UpdatedAtMs: start.UnixMilli(), IdempotencyKey: "k1", InputHash: inputHash(c),
		},
	}}})
	if d = h.decide(c, nil); d.Reply != nil || len(d.Events)+len(d.Asks) != 0 {
		t.Fatalf("the creation must wait until its SKUs are configured: %+v", d)
	}

	asks := Pending(h.s)
	wantEqual(t, "pending", skusOf(asks), []string{"M", "S"})
	wantEqual(t, "configuration", asks[0].Command, &skupb.Configure{
		ProductId: id, ProductVersion: 2, Name: "Linen shirt, Size S", Price: c.Variants[0].Price, Active: true, InitialStock: 10,
	})
	if d = h.decide(&commonpb.Continue{}, map[string]proto.Message{asks[0].Key: &skupb.ConfigureReply{}}); len(d.Events) != 0 {
		t.Fatalf("continued with one SKU unheard: %+v", d)
	}
	d = h.decide(&commonpb.Continue{}, map[string]proto.Message{asks[0].Key: &skupb.ConfigureReply{}, asks[1].Key: &skupb.ConfigureReply{}})
	wantEqual(t, "event", d.Events, []*productpb.Event{{AtMs: start.UnixMilli(), Event: &productpb.Event_SkusConfigured{
		SkusConfigured: &productpb.SkusConfigured{ProductVersion: 2},
	}}})
	if asks := Pending(h.s); asks != nil {
		t.Fatalf("still pending: %v", asks)
	}

	got := h.decide(c, nil).Reply.(*productpb.ProductReply).Product
	wantEqual(t, "reply", got, &productpb.Product{
		Id: id, Slug: slug, Name: c.Name, Description: c.Description, ImageUrl: c.ImageUrl, Published: true, Variants: c.Variants,
		Version: 2, ConfiguredVersion: 2, CreatedAtMs: start.UnixMilli(), UpdatedAtMs: start.UnixMilli(),
	})
}

func TestUnpublishedSKUsAreInactive(t *testing.T) {
	h := newShop(t)
	h.do(creation(func(c *productpb.Create) { c.Published = false }))
	for _, sku := range []string{"S", "M"} {
		if h.sku(sku).last.Active {
			t.Errorf("SKU %s of an unpublished product is active", sku)
		}
	}
	published := true
	h.do(&productpb.Update{Published: &published})
	if k := h.sku("S"); !k.last.Active || k.stocked != 1 {
		t.Errorf("after publishing: %+v", k)
	}
}

func TestRefusedClaimGivesTheOthersBack(t *testing.T) {
	h := newShop(t)
	h.sku("M").owner = "prd_other"
	c := creation()
	heard := map[string]proto.Message{}
	for _, a := range h.decide(c, nil).Asks {
		heard[a.Key] = h.answer(a)
	}
	d := h.decide(c, heard)
	if len(d.Asks) != 1 || d.Asks[0].ID != "S" {
		t.Fatalf("want S given back, got %+v", d)
	}
	wantEqual(t, "ask", d.Asks[0].Command, &skupb.Unconfigure{ProductId: ID(slug), ProductVersion: 1})
	heard[d.Asks[0].Key] = h.answer(d.Asks[0])
	d = h.decide(c, heard)
	wantRefusal(t, d.Reply, commonpb.Reason_REASON_CONFLICT, "variants", "1", "sku")
	if len(d.Events) != 0 || h.sku("S").owner != "" || h.s.product != nil {
		t.Fatalf("something was changed: %+v, S %+v", d, h.sku("S"))
	}
	wantRefusal(t, h.do(&productpb.Get{}), commonpb.Reason_REASON_NOT_FOUND, "id")
}

func TestClaimRefusedAtOnceWhenNothingWasClaimed(t *testing.T) {
	h := newShop(t)
	h.sku("S").owner, h.sku("M").owner = "prd_other", "prd_other"
	wantRefusal(t, h.do(creation()), commonpb.Reason_REASON_CONFLICT, "variants", "0", "sku")
}

func TestOtherRefusalsOfAClaimArePassedOn(t *testing.T) {
	h := newShop(t)
	c := creation()
	heard := map[string]proto.Message{}
	for _, a := range h.decide(c, nil).Asks {
		heard[a.Key] = &skupb.ConfigureReply{Refusal: &commonpb.Refusal{Reason: commonpb.Reason_REASON_THROTTLED, Message: "full", RetryAfterMs: 70}}
	}
	if r := wantRefusal(t, h.decide(c, heard).Reply, commonpb.Reason_REASON_THROTTLED, "variants", "0", "sku"); r.RetryAfterMs != 70 {
		t.Fatalf("the delay was lost: %v", r)
	}
	for k := range heard {
		heard[k] = &skupb.StockReply{}
	}
	wantRefusal(t, h.decide(c, heard).Reply, commonpb.Reason_REASON_INVALID, "variants", "0", "sku")
}

func TestCreateAgain(t *testing.T) {
	h := newShop(t)
	first := h.created()
	wantEqual(t, "the same answer", h.do(creation()).Product, first)
	wantEqual(t, "whoever sends it", h.do(creation(func(c *productpb.Create) { c.Actor = nil })).Product, first)
	if n := len(h.events); n != 2 {
		t.Fatalf("%d events, want 2", n)
	}
	for name, change := range map[string]func(*productpb.Create){
		"name":        func(c *productpb.Create) { c.Name = "Other" },
		"description": func(c *productpb.Create) { c.Description = "" },
		"image":       func(c *productpb.Create) { c.ImageUrl = "" },
		"published":   func(c *productpb.Create) { c.Published = false },
		"fewer":       func(c *productpb.Create) { c.Variants = c.Variants[:1] },
		"price":       func(c *productpb.Create) { c.Variants[0].Price.MinorUnits++ },
		"stock":       func(c *productpb.Create) { c.Variants[0].InitialStock++ },
		"order":       func(c *productpb.Create) { c.Variants[0], c.Variants[1] = c.Variants[1], c.Variants[0] },
	} {
		t.Run(name, func(t *testing.T) {
			wantRefusal(t, h.do(creation(change)), commonpb.Reason_REASON_IDEMPOTENCY_MISMATCH, "idempotencyKey")
		})
	}
	wantRefusal(t, h.do(creation(func(c *productpb.Create) { c.IdempotencyKey = "k2" })), commonpb.Reason_REASON_CONFLICT, "slug")
}

// Two creations of one slug are under way at the same time; each has claimed.
func TestTheLoserOfARaceGivesBackOnlyItsOwn(t *testing.T) {
	h := newShop(t)
	a := creation()
	b := creation(func(c *productpb.Create) {
		c.IdempotencyKey = "k2"
		c.Variants = []*productpb.Variant{variant("S", func(v *productpb.Variant) { v.Price.MinorUnits = 5 }), variant("X")}
	})
	heard := func(c *productpb.Create) map[string]proto.Message {
		out := map[string]proto.Message{}
		for _, ask := range h.decide(c, nil).Asks {
			out[ask.Key] = h.answer(ask)
		}
		return out
	}
	heardA, heardB := heard(a), heard(b)
	h.decide(a, heardA)
	d := h.decide(b, heardB)
	wantEqual(t, "given back", skusOf(d.Asks), []string{"X"})
	for _, ask := range d.Asks {
		heardB[ask.Key] = h.answer(ask)
	}
	wantRefusal(t, h.decide(b, heardB).Reply, commonpb.Reason_REASON_CONFLICT, "slug")
	h.follow()
	// A claim of the loser that arrives only now is older than the configuration.
	for _, ask := range claims(New(ID(slug)), b.Name, b.Variants[:1]) {
		h.answer(ask)
	}
	if k := h.sku("S"); !k.last.Active || k.last.Price.MinorUnits != 1990 {
		t.Fatalf("S sells as %v", k.last)
	}
}

func TestTextsAndKeysOfDifferentContentDiffer(t *testing.T) {
	a := claims(New("p"), "n", []*productpb.Variant{variant("S")})
	b := claims(New("p"), "n", []*productpb.Variant{variant("S", func(v *productpb.Variant) { v.Price.MinorUnits++ })})
	if a[0].Key == b[0].Key {
		t.Fatal("claims of other contents share a key")
	}
}

func TestCreateValidation(t *testing.T) {
	long := func(n int) string { return strings.Repeat("é", n) }
	first := func(f func(*productpb.Variant)) func(*productpb.Create) {
		return func(c *productpb.Create) { f(c.Variants[0]) }
	}
	for _, tc := range []struct {
		name   string
		change func(*productpb.Create)
		field  string // empty: accepted
	}{
		{"as it is", func(*productpb.Create) {}, ""},
		{"no key", func(c *productpb.Create) { c.IdempotencyKey = "" }, "idempotencyKey"},
		{"longest key", func(c *productpb.Create) { c.IdempotencyKey = strings.Repeat("k", 255) }, ""},
		{"key too long", func(c *productpb.Create) { c.IdempotencyKey = strings.Repeat("k", 256) }, "idempotencyKey"},
		{"NUL in key", func(c *productpb.Create) { c.IdempotencyKey = "a\x00b" }, "idempotencyKey"},
		{"key not UTF-8", func(c *productpb.Create) { c.IdempotencyKey = "\xff" }, "idempotencyKey"},
		{"no slug", func(c *productpb.Create) { c.Slug = "" }, "slug"},
		{"capital in slug", func(c *productpb.Create) { c.Slug = "Shirt" }, "slug"},
		{"hyphen first", func(c *productpb.Create) { c.Slug = "-shirt" }, "slug"},
		{"hyphen last", func(c *productpb.Create) { c.Slug = "shirt-" }, "slug"},
		{"two hyphens", func(c *productpb.Create) { c.Slug = "a--b" }, "slug"},
		{"slug too long", func(c *productpb.Create) { c.Slug = strings.Repeat("a", 101) }, "slug"},
		{"another product's slug", func(c *productpb.Create) { c.Slug = "other" }, "slug"},
		{"no name", func(c *productpb.Create) { c.Name = "" }, "name"},
		{"name of spaces", func(c *productpb.Create) { c.Name = " \u00a0" }, "name"},
		{"longest name", func(c *productpb.Create) { c.Name = long(200) }, ""},
		{"name too long", func(c *productpb.Create) { c.Name = long(201) }, "name"},
		{"line break in name", func(c *productpb.Create) { c.Name = "a\nb" }, "name"},
		{"name not UTF-8", func(c *productpb.Create) { c.Name = "\xff" }, "name"},
		{"description too long", func(c *productpb.Create) { c.Description = long(10_001) }, "description"},
		{"NUL in description", func(c *productpb.Create) { c.Description = "\x00" }, "description"},
		{"no image", func(c *productpb.Create) { c.ImageUrl = "" }, ""},
		{"image path", func(c *productpb.Create) { c.ImageUrl = "/images/shirt.svg" }, ""},
		{"script for an image", func(c *productpb.Create) { c.ImageUrl = "javascript:alert(1)" }, "imageUrl"},
		{"image of another host", func(c *productpb.Create) { c.ImageUrl = "//evil.example/x" }, "imageUrl"},
		{"image of another host, spelt differently", func(c *productpb.Create) { c.ImageUrl = `/\evil.example/x` }, "imageUrl"},
		{"image with a password", func(c *productpb.Create) { c.ImageUrl = "https://u:p@img.example/x" }, "imageUrl"},
		{"no variant", func(c *productpb.Create) { c.Variants = nil }, "variants"},
		{"50 variants", func(c *productpb.Create) { c.Variants = many(50) }, ""},
		{"51 variants", func(c *productpb.Create) { c.Variants = many(51) }, "variants"},
		{"nil variant", func(c *productpb.Create) { c.Variants[0] = nil }, "variants 0 sku"},
		{"no SKU", first(func(v *productpb.Variant) { v.Sku = "" }), "variants 0 sku"},
		{"SKU too long", first(func(v *productpb.Variant) { v.Sku = strings.Repeat("s", 65) }), "variants 0 sku"},
		{"slash in SKU", first(func(v *productpb.Variant) { v.Sku = "a/b" }), "variants 0 sku"},
		{"dollar in SKU", first(func(v *productpb.Variant) { v.Sku = "$a" }), "variants 0 sku"},
		{"SKU twice", func(c *productpb.Create) { c.Variants[1].Sku = "S" }, "variants 1 sku"},
		{"variant without name", first(func(v *productpb.Variant) { v.Name = "" }), ""},
		{"variant name too long", first(func(v *productpb.Variant) { v.Name = long(201) }), "variants 0 name"},
		{"no price", first(func(v *productpb.Variant) { v.Price = nil }), "variants 0 price"},
		{"negative price", first(func(v *productpb.Variant) { v.Price.MinorUnits = -1 }), "variants 0 price amount"},
		{"free", first(func(v *productpb.Variant) { v.Price.MinorUnits = 0 }), ""},
		{"price too high", first(func(v *productpb.Variant) { v.Price.MinorUnits = MaxPriceMinorUnits + 1 }), "variants 0 price amount"},
		{"currency", first(func(v *productpb.Variant) { v.Price.Currency = "eur" }), "variants 0 price currency"},
		{"no currency", first(func(v *productpb.Variant) { v.Price.Currency = "" }), "variants 0 price currency"},
		{"attributes", first(func(v *productpb.Variant) { v.AttributesJson = "[1]" }), "variants 0 attributes"},
		{"broken attributes", first(func(v *productpb.Variant) { v.AttributesJson = `{"a":` }), "variants 0 attributes"},
		{"attributes not UTF-8", first(func(v *productpb.Variant) { v.AttributesJson = "{\"a\":\"\xff\"}" }), "variants 0 attributes"},
		{"attributes too long", first(func(v *productpb.Variant) { v.AttributesJson = `{"a":"` + strings.Repeat("a", 4096) + `"}` }), "variants 0 attributes"},
		{"no attributes", first(func(v *productpb.Variant) { v.AttributesJson = "" }), ""},
		{"negative stock", first(func(v *productpb.Variant) { v.InitialStock = -1 }), "variants 0 initialStock"},
		{"most stock", first(func(v *productpb.Variant) { v.InitialStock = 1e9 }), ""},
		{"too much stock", first(func(v *productpb.Variant) { v.InitialStock = 1e9 + 1 }), "variants 0 initialStock"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := newShop(t)
			c := creation(tc.change)
			if tc.field == "" {
				if r := h.do(c); r.Refusal != nil {
					t.Fatalf("refused: %v", r.Refusal)
				}
				return
			}
			d := h.decide(c, nil)
			wantRefusal(t, d.Reply, commonpb.Reason_REASON_INVALID, strings.Split(tc.field, " ")...)
			if len(d.Events) != 0 {
				t.Fatal("a refusal with events")
			}
		})
	}
}

func many(n int) []*productpb.Variant {
	var out []*productpb.Variant
	for i := range n {
		out = append(out, variant("V"+strings.Repeat("x", i+1)))
	}
	return out
}
