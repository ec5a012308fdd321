// What a product accepts. A refusal's field is the path into the API's input.
package product

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"stampede/proto/gen/commonpb"
	"stampede/proto/gen/productpb"
)

func validateCreate(id string, c *productpb.Create) *commonpb.Refusal {
	if r := validateKey(c.IdempotencyKey); r != nil {
		return r
	}
	if !validSlug(c.Slug) {
		return invalid(fmt.Sprintf("must be lower-case letters, digits and single hyphens between them, 1 to %d", MaxSlugBytes), "slug")
	}
	if ID(c.Slug) != id {
		return invalid("is not the slug of product "+id, "slug")
	}
	if r := validateTexts(&c.Name, &c.Description, &c.ImageUrl); r != nil {
		return r
	}
	return validateVariants(c.Variants)
}

func validateUpdate(u *productpb.Update) *commonpb.Refusal {
	if u.IfVersion < 0 {
		return invalid("must be the version that was read, at least 1", "ifVersion")
	}
	if len(u.CommandId) > MaxCommandIDBytes || !utf8.ValidString(u.CommandId) || strings.HasPrefix(u.CommandId, hashedID) {
		return invalid(fmt.Sprintf("must be at most %d bytes and not begin with %s", MaxCommandIDBytes, hashedID), "commandId")
	}
	if r := validateTexts(u.Name, u.Description, u.ImageUrl); r != nil {
		return r
	}
	if u.ReplaceVariants {
		return validateVariants(u.Variants)
	}
	if len(u.Variants) > 0 {
		return invalid("are given, but not to replace those that are there", "variants")
	}
	return nil
}

// validateOwned bounds what the product would own with these variants.
func validateOwned(p *productpb.Product, next []*productpb.Variant) *commonpb.Refusal {
	owned := len(next)
	for _, v := range p.Retired {
		if find(next, v.Sku) == nil {
			owned++
		}
	}
	owned += len(without(p.Variants, next))
	if owned > MaxOwnedSKUs {
		return invalid(fmt.Sprintf("a product has at most %d SKUs over its life, with those that it sells no longer: make a new product", MaxOwnedSKUs), "variants")
	}
	return nil
}

func validateKey(key string) *commonpb.Refusal {
	if key == "" || len(key) > MaxIdempotencyKeyBytes || !utf8.ValidString(key) || strings.ContainsFunc(key, unicode.IsControl) {
		return invalid(fmt.Sprintf("must be 1 to %d bytes without control characters", MaxIdempotencyKeyBytes), "idempotencyKey")
	}
	return nil
}

// validSlug: [a-z0-9]+(-[a-z0-9]+)*
func validSlug(slug string) bool {
	if slug == "" || len(slug) > MaxSlugBytes {
		return false
	}
	for part := range strings.SplitSeq(slug, "-") {
		if part == "" || strings.ContainsFunc(part, func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') }) {
			return false
		}
	}
	return true
}

// validateTexts checks those that are given.
func validateTexts(name, description, imageURL *string) *commonpb.Refusal {
	if name != nil && (strings.TrimSpace(*name) == "" || !plainText(*name, MaxNameCharacters, "")) {
		return invalid(fmt.Sprintf("must be 1 to %d characters, not all spaces, without control characters", MaxNameCharacters), "name")
	}
	if description != nil && !plainText(*description, MaxDescriptionCharacters, "\n\r\t") {
		return invalid(fmt.Sprintf("must be at most %d characters without control characters other than line breaks and tabs", MaxDescriptionCharacters), "description")
	}
	if imageURL != nil && !validImageURL(*imageURL) {
		return invalid(fmt.Sprintf("must be empty, an http or https URL, or a path that begins with /, at most %d bytes", MaxImageURLBytes), "imageUrl")
	}
	return nil
}

func plainText(s string, maxCharacters int, controls string) bool {
	return utf8.ValidString(s) && utf8.RuneCountInString(s) <= maxCharacters &&
		!strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) && !strings.ContainsRune(controls, r) })
}

// validImageURL keeps out what a page must not load: scripts, other schemes,
// and paths that are hosts to a browser.
func validImageURL(s string) bool {
	if s == "" {
		return true
	}
	if len(s) > MaxImageURLBytes || !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) || r == '\\' }) {
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

func validateVariants(variants []*productpb.Variant) *commonpb.Refusal {
	if len(variants) == 0 || len(variants) > MaxVariants {
		return invalid(fmt.Sprintf("must be 1 to %d", MaxVariants), "variants")
	}
	seen := make(map[string]bool, len(variants))
	for i, v := range variants {
		at := func(message string, field ...string) *commonpb.Refusal {
			return invalid(message, append([]string{"variants", strconv.Itoa(i)}, field...)...)
		}
		switch {
		case !validSKU(v.GetSku()):
			return at("must be 1 to 64 letters, digits, hyphens and underscores", "sku")
		case seen[v.GetSku()]:
			return at("must be different from the other variants' SKUs", "sku")
		case !plainText(v.GetName(), MaxNameCharacters, ""):
			return at(fmt.Sprintf("must be at most %d characters without control characters", MaxNameCharacters), "name")
		case v.GetPrice() == nil:
			return at("must be given", "price")
		case v.Price.MinorUnits < 0 || v.Price.MinorUnits > MaxPriceMinorUnits:
			return at(fmt.Sprintf("must be 0 to %d in minor units", MaxPriceMinorUnits), "price", "amount")
		case !validCurrency(v.Price.Currency):
			return at("must be an ISO 4217 code such as EUR", "price", "currency")
		case !validAttributes(v.AttributesJson):
			return at(fmt.Sprintf("must be a JSON object of at most %d bytes", MaxAttributesBytes), "attributes")
		case v.InitialStock < 0 || v.InitialStock > MaxInitialStock:
			return at(fmt.Sprintf("must be 0 to %d", MaxInitialStock), "initialStock")
		}
		seen[v.Sku] = true
	}
	return nil
}

func validSKU(sku string) bool {
	return sku != "" && len(sku) <= 64 && !strings.ContainsFunc(sku, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_'
	})
}

func validCurrency(c string) bool {
	return len(c) == 3 && !strings.ContainsFunc(c, func(r rune) bool { return r < 'A' || r > 'Z' })
}

func validAttributes(s string) bool {
	return s == "" || len(s) <= MaxAttributesBytes && utf8.ValidString(s) && json.Valid([]byte(s)) && strings.HasPrefix(strings.TrimLeft(s, " \t\r\n"), "{")
}
