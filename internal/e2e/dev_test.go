package e2e

// The first minute of a stranger: `stampede dev` and nothing else.

import (
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

var operatorLine = regexp.MustCompile(`operator +(\S+) +password (\S+)`)

func TestDevIsAWholeShop(t *testing.T) {
	t.Parallel()
	s := start(t, "dev", "--data-dir="+t.TempDir()+"/not there yet")
	at := &address{}
	at.set(s)
	nobody := newClient(at, "")
	ctx := t.Context()
	var data struct {
		Products struct{ Edges []struct{ Node product } }
	}
	if err := nobody.ask(ctx, `{products(first:20){edges{node{`+productFields+`}}}}`, nil, &data); err != nil || len(data.Products.Edges) < 3 {
		t.Fatalf("the sample catalogue: %+v, %v", data, err)
	}
	buyer, err := nobody.register(ctx, "first@mail.test", "nine noisy newts")
	if err != nil {
		t.Fatal(err)
	}
	sku := ""
	for _, e := range data.Products.Edges {
		for _, v := range e.Node.Variants {
			if v.Stock.Available > 0 {
				sku = v.SKU
			}
		}
	}
	o, err := nobody.as(buyer.Tokens.AccessToken).place(ctx, "first", "tok_ok", want{sku, 1})
	if err != nil || o.State != "CONFIRMED" {
		t.Errorf("the first order: %+v, %v", o, err)
	}
	said := operatorLine.FindStringSubmatch(s.stdout.String())
	if said == nil {
		t.Fatalf("it does not say who the operator is:\n%s", s.stdout)
	}
	in, err := nobody.logIn(ctx, said[1], said[2])
	if err != nil {
		t.Fatalf("the operator with the password that was shown: %v", err)
	}
	if _, err := nobody.as(in.Tokens.AccessToken).createProduct(ctx, "first", "first-of-mine", variant{"FIRST-OF-MINE", "1.00", 1}); err != nil {
		t.Errorf("a product of the operator's: %v", err)
	}
	for _, page := range []string{"/", "/console", "/.well-known/jwks.json"} {
		if status, body := get(t, s.url+page); status != http.StatusOK || body == "" {
			t.Errorf("%s answers %d with %d bytes", page, status, len(body))
		}
	}
	if _, metrics := get(t, s.admin+"/metrics"); !strings.Contains(metrics, "stampede_") {
		t.Error("no metrics of our own")
	}
	if status, _ := get(t, s.admin+"/livez"); status != http.StatusOK {
		t.Errorf("livez says %d", status)
	}
	s.stop()
}

func get(t testing.TB, url string) (status int, body string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	b, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(b)
}
