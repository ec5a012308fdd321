// Package catalogue is the sample shop that dev starts with: products that look
// like a shop's, made through the public API as a member of the staff would
// make them, and their pictures.
package catalogue

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"stampede/cmd/stampede/internal/shop"
)

// ImagePath is where Images expects to be served.
const ImagePath = "/sample/"

// item is one product of the sample, shorter than the API's.
type item struct {
	slug, name, description string
	category                string
	currency                string
	variants                []variant
}

type variant struct {
	sku, name, price string
	stock            int
	attributes       map[string]any
}

// Products is the sample. The pictures are paths of the shop's own server.
func Products() []shop.Product {
	items := items()
	products := make([]shop.Product, len(items))
	for i, one := range items {
		p := shop.Product{
			Slug: one.slug, Name: one.name, Description: one.description,
			ImageURL: ImagePath + one.slug + ".svg",
		}
		for _, v := range one.variants {
			attributes := map[string]any{"category": one.category}
			for name, value := range v.attributes {
				attributes[name] = value
			}
			p.Variants = append(p.Variants, shop.Variant{
				SKU: v.sku, Name: v.name, Price: shop.Money{Amount: v.price, Currency: one.currency}, Attributes: attributes, Stock: v.stock,
			})
		}
		products[i] = p
	}
	return products
}

// Fill makes what is missing of the sample and reports how many products it
// made. Each has an idempotency key of its own, so that a start that was
// interrupted is finished by the next one.
func Fill(ctx context.Context, staff *shop.Client) (int, error) {
	const most = 100
	there, err := staff.Slugs(ctx, most)
	if err != nil {
		return 0, err
	}
	known := make(map[string]bool, len(there))
	for _, slug := range there {
		known[slug] = true
	}
	made := 0
	for _, p := range Products() {
		if known[p.Slug] {
			continue
		}
		if err := staff.CreateProduct(ctx, "sample-"+p.Slug, p); err != nil {
			return made, fmt.Errorf("sample catalogue: %w", err)
		}
		made++
	}
	return made, nil
}

// Images serves the pictures of the sample at ImagePath.
func Images() http.Handler {
	pictures := map[string][]byte{}
	for i, one := range items() {
		pictures[one.slug+".svg"] = picture(i, one)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		svg, ok := pictures[strings.TrimPrefix(r.URL.Path, ImagePath)]
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("content-type", "image/svg+xml")
		w.Header().Set("cache-control", "public, max-age=86400")
		w.Header().Set("content-security-policy", "default-src 'none'; style-src 'unsafe-inline'")
		w.Header().Set("x-content-type-options", "nosniff")
		_, _ = w.Write(svg) // the client that went away is the only error
	})
}
