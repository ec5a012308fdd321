package resolve

import (
	"crypto/rand"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"

	"stampede/actors/product"
	"stampede/gateway/graph"
	"stampede/proto/gen/productpb"
)

func createCommand(v Viewer, in *graph.CreateProductInput) (*productpb.Create, problems) {
	var bad problems
	bad.key(in.IdempotencyKey)
	bad.require(isSlug(in.Slug), wantSlug, "slug")
	bad.texts(&in.Name, in.Description, in.ImageURL)
	cmd := &productpb.Create{
		Actor: v.actor(), IdempotencyKey: in.IdempotencyKey, Slug: in.Slug, Name: in.Name,
		Description: deref(in.Description), ImageUrl: deref(in.ImageURL),
		Published: in.Published == nil || *in.Published, Variants: bad.variants(in.Variants),
	}
	return cmd, bad
}

// updateCommand: a field that is absent or null stays as it is; an empty text clears it.
func updateCommand(v Viewer, in *graph.UpdateProductInput) (*productpb.Update, problems) {
	var bad problems
	bad.id(in.ID, productPrefix, "id")
	bad.texts(in.Name, in.Description, in.ImageURL)
	cmd := &productpb.Update{
		Actor: v.actor(), IfVersion: bad.version(in.IfVersion), CommandId: rand.Text(),
		Name: in.Name, Description: in.Description, ImageUrl: in.ImageURL, Published: in.Published,
	}
	if in.Variants != nil {
		cmd.ReplaceVariants, cmd.Variants = true, bad.variants(in.Variants)
	}
	return cmd, bad
}

const wantSlug = "must be lower-case letters and digits with single hyphens between them, at most 100"

// isSlug: [a-z0-9]+(-[a-z0-9]+)*
func isSlug(s string) bool {
	if s == "" || len(s) > product.MaxSlugBytes || s[0] == '-' || s[len(s)-1] == '-' || strings.Contains(s, "--") {
		return false
	}
	return strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

func (p *problems) texts(name, description, imageURL *string) {
	if name != nil {
		p.require(strings.TrimSpace(*name) != "" && text(*name, maxNameCharacters), "must be 1 to 200 characters without control characters", "name")
	}
	if description != nil {
		p.require(paragraphs(*description), "must be at most 10000 characters without control characters other than line breaks and tabs", "description")
	}
	if imageURL != nil {
		p.require(isImageURL(*imageURL), "must be an http or https URL, or a path that begins with /, of at most 2048 bytes", "imageUrl")
	}
}

func paragraphs(s string) bool {
	return len(s) <= utf8.UTFMax*product.MaxDescriptionCharacters && utf8.ValidString(s) && utf8.RuneCountInString(s) <= product.MaxDescriptionCharacters &&
		!strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\r' && r != '\t' })
}

// isImageURL keeps out what a page must not load.
func isImageURL(s string) bool {
	if s == "" {
		return true
	}
	if len(s) > product.MaxImageURLBytes || !printable(s) || strings.ContainsAny(s, " \\") {
		return false
	}
	u, err := url.Parse(s)
	if err != nil || u.User != nil {
		return false
	}
	if u.Scheme == "http" || u.Scheme == "https" {
		return u.Hostname() != ""
	}
	return u.Scheme == "" && u.Host == "" && strings.HasPrefix(s, "/") && !strings.HasPrefix(s, "//")
}

func (p *problems) variants(in []graph.VariantInput) []*productpb.Variant {
	if len(in) < 1 || len(in) > product.MaxVariants {
		p.add(oneTo(" variants", product.MaxVariants), "variants")
		return nil
	}
	out := make([]*productpb.Variant, len(in))
	seen := make(map[string]bool, len(in))
	for i := range in {
		out[i] = p.variant(&in[i], i)
		p.require(!seen[in[i].Sku], "must be different from the other variants' SKUs", "variants", index(i), "sku")
		seen[in[i].Sku] = true
	}
	return out
}

func (p *problems) variant(in *graph.VariantInput, i int) *productpb.Variant {
	at := index(i)
	p.require(isSKU(in.Sku), wantSKU, "variants", at, "sku")
	out := &productpb.Variant{Sku: in.Sku, Price: p.price(&in.Price, "variants", at, "price")}
	if in.Name != nil {
		p.require(text(*in.Name, maxNameCharacters), "must be at most 200 characters without control characters", "variants", at, "name")
		out.Name = *in.Name
	}
	if in.Attributes != nil {
		out.AttributesJson = string(*in.Attributes)
		p.require(strings.HasPrefix(out.AttributesJson, "{") && len(out.AttributesJson) <= product.MaxAttributesBytes,
			"must be a JSON object of at most 4096 bytes", "variants", at, "attributes")
	}
	if in.InitialStock != nil {
		out.InitialStock = int64(*in.InitialStock)
		p.require(out.InitialStock >= 0 && out.InitialStock <= product.MaxInitialStock, "must be 0 to 1000000000", "variants", at, "initialStock")
	}
	return out
}
