package catalogue

import (
	"encoding/xml"
	"errors"
	"io"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

// The sample obeys the bounds of the API that it is sent to.
func TestTheSampleIsAShop(t *testing.T) {
	slugPattern := regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	skuPattern := regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
	pricePattern := regexp.MustCompile(`^[0-9]+\.[0-9]{2}$`)
	products := Products()
	if len(products) < 24 {
		t.Errorf("%d products, want 24 or more", len(products))
	}
	slugs, skus, currencies, soldOut := map[string]bool{}, map[string]bool{}, map[string]bool{}, 0
	for _, p := range products {
		if !slugPattern.MatchString(p.Slug) || len(p.Slug) > 100 || slugs[p.Slug] {
			t.Errorf("slug %q is malformed or used twice", p.Slug)
		}
		slugs[p.Slug] = true
		if n := utf8.RuneCountInString(p.Name); n == 0 || n > 200 || p.Description == "" {
			t.Errorf("%s: name %q, description %q", p.Slug, p.Name, p.Description)
		}
		if !strings.HasPrefix(p.ImageURL, "/sample/") {
			t.Errorf("%s: picture at %s", p.Slug, p.ImageURL)
		}
		if len(p.Variants) == 0 || len(p.Variants) > 50 {
			t.Errorf("%s: %d variants", p.Slug, len(p.Variants))
		}
		for _, v := range p.Variants {
			if !skuPattern.MatchString(v.SKU) || skus[v.SKU] || !pricePattern.MatchString(v.Price.Amount) || v.Stock < 0 {
				t.Errorf("%s: variant %+v", p.Slug, v)
			}
			skus[v.SKU] = true
			currencies[v.Price.Currency] = true
			if v.Stock == 0 {
				soldOut++
			}
			if v.Attributes["category"] == "" {
				t.Errorf("%s: no category", v.SKU)
			}
		}
	}
	if !currencies["EUR"] || !currencies["USD"] || soldOut == 0 {
		t.Errorf("currencies %v, %d sold out", currencies, soldOut)
	}
}

// Every product has a picture that is well-formed and asks nothing of others.
func TestPictures(t *testing.T) {
	images := Images()
	for _, p := range Products() {
		w := httptest.NewRecorder()
		images.ServeHTTP(w, httptest.NewRequest("GET", p.ImageURL, nil))
		if w.Code != 200 || w.Header().Get("content-type") != "image/svg+xml" {
			t.Errorf("%s: %d %s", p.ImageURL, w.Code, w.Header().Get("content-type"))
		}
		body := w.Body.String()
		if strings.Contains(body, "href") || !strings.Contains(body, "stroke-linejoin") || strings.Contains(body, `stroke-linejoin="round"></g>`) {
			t.Errorf("%s: %s", p.ImageURL, body)
		}
		decoder := xml.NewDecoder(strings.NewReader(body))
		for {
			_, err := decoder.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Errorf("%s: %v", p.ImageURL, err)
				break
			}
		}
	}
	w := httptest.NewRecorder()
	images.ServeHTTP(w, httptest.NewRequest("GET", "/sample/../secret", nil))
	if w.Code != 404 {
		t.Errorf("an unknown picture: %d", w.Code)
	}
}
