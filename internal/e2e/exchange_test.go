package e2e

// Products in files: what import takes, what it refuses, and that an export is
// what was imported.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// exchange runs import or export as the operator and returns what it printed.
func exchange(t *testing.T, s *server, wantExit int, args ...string) (stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program(t), append(args, "--url="+s.url, "--staff-email="+operatorEmail)...)
	cmd.Env = append(environment(), "STAMPEDE_STAFF_PASSWORD="+operatorPassword)
	var out, diagnostics bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &diagnostics
	err := cmd.Run()
	var exit *exec.ExitError
	code := 0
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	if code != wantExit {
		t.Fatalf("%v: exit status %d, want %d\n%s%s", args, code, wantExit, &out, &diagnostics)
	}
	return out.String(), diagnostics.String()
}

func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// manyProducts is a file with products of all sorts: some with 50 variants, texts with
// everything that formats stumble over, some not published.
func manyProducts(n int) string {
	var b strings.Builder
	for i := range n {
		var variants []string
		for j := range 1 + i%3 + i%50/49*47 {
			variants = append(variants, fmt.Sprintf(`{"sku":"P%d-%d","name":"size \"%d\", wide","price":{"amount":"%d.5","currency":"EUR"},"attributes":{"size":%d,"a":"<ü>"},"stock":%d}`, i, j, j, i, j, i*j))
		}
		fmt.Fprintf(&b, `{"slug":"product-%d","name":"Product, the %dth","description":"one\r\ntwo \"three\"\n","published":%v,"imageUrl":"/p/%d.jpg","variants":[%s]}`+"\n", i, i, i%4 != 0, i, strings.Join(variants, ","))
	}
	return b.String()
}

func TestProductsInFiles(t *testing.T) {
	t.Parallel()
	const n = 120
	s := serve(t, t.TempDir())
	file := writeFile(t, "all.jsonl", manyProducts(n))
	said := func(what, want string, args ...string) {
		t.Helper()
		out, _ := exchange(t, s, 0, append([]string{"import", "products"}, args...)...)
		if !strings.HasPrefix(out, want) {
			t.Errorf("%s: it said %q, want %q", what, out, want)
		}
	}
	said("a dry run", "120 products would be created, 0 updated, 0 unchanged", file, "--dry-run")
	said("the first run", "120 products created, 0 updated, 0 unchanged", file)
	said("the same again", "0 products created, 0 updated, 120 unchanged; stock of 0 SKUs set", file)

	jsonl, csv := exported(t, s, n, "jsonl"), exported(t, s, n, "csv")
	said("what was exported", "0 products created, 0 updated, 120 unchanged; stock of 0 SKUs set", writeFile(t, "same.csv", csv), "--set-stock")

	changed := writeFile(t, "changed.jsonl", `{"slug":"product-7","name":"Renamed","variants":[{"sku":"P7-0","stock":70},{"sku":"NEW","price":{"amount":"1","currency":"EUR"},"stock":9}]}`+"\n"+`{"slug":"product-9","published":false}`)
	said("a dry run of changes", "0 products would be created, 2 updated, 0 unchanged", changed, "--dry-run")
	said("changes", "0 products created, 2 updated, 0 unchanged; stock of 0 SKUs set", changed)
	said("stock", "0 products created, 0 updated, 2 unchanged; stock of 1 SKUs set", changed, "--set-stock")
	said("stock again", "0 products created, 0 updated, 2 unchanged; stock of 0 SKUs set", changed, "--set-stock")
	after := exported(t, s, n, "jsonl")
	for _, want := range []string{
		`{"slug":"product-7","name":"Renamed","description":"one\r\ntwo \"three\"\n","imageUrl":"/p/7.jpg","published":true,"variants":[{"sku":"P7-0","name":"size \"0\", wide","price":{"amount":"7.50","currency":"EUR"},"attributes":{"a":"<ü>","size":0},"stock":70},{"sku":"NEW","price":{"amount":"1.00","currency":"EUR"},"stock":9}]}`,
		`{"slug":"product-9","name":"Product, the 9th","description":"one\r\ntwo \"three\"\n","imageUrl":"/p/9.jpg","published":false,`,
	} {
		if !strings.Contains(after, want) {
			t.Errorf("after the changes there is no %s", want)
		}
	}

	_, diagnostics := exchange(t, s, 1, "import", "products", writeFile(t, "taken.jsonl", `{"slug":"thief","name":"Thief","variants":[{"sku":"P1-0","price":{"amount":"1","currency":"EUR"}}]}`+"\n"+`{"slug":"honest","name":"Honest","variants":[{"sku":"H","price":{"amount":"1","currency":"EUR"}}]}`))
	if !strings.Contains(diagnostics, `taken.jsonl: line 1: product "thief": variants.0.sku `) {
		t.Errorf("a SKU of another product: %s", diagnostics)
	}
	_, diagnostics = exchange(t, s, 1, "import", "products", writeFile(t, "wrong.jsonl", `{"slug":"fresh","name":"Fresh","variants":[{"sku":"F","price":{"amount":"1","currency":"EUR"}}]}`+"\n"+`{"slug":"WRONG"}`))
	if !strings.Contains(diagnostics, `wrong.jsonl: line 2: product "WRONG": slug must be`) || !strings.Contains(diagnostics, "nothing was imported") {
		t.Errorf("a wrong line: %s", diagnostics)
	}
	if out := exported(t, s, n+1, "jsonl"); strings.Contains(out, `"slug":"fresh"`) || strings.Contains(out, `"slug":"thief"`) || !strings.Contains(out, `"slug":"honest"`) {
		t.Error("a refused product is there, or a good one is not")
	}
	s.stop()
	roundTrip(t, n, jsonl, csv)
}

// roundTrip: what was exported comes out of an empty shop the same.
func roundTrip(t *testing.T, n int, jsonl, csv string) {
	t.Helper()
	for format, text := range map[string]string{"jsonl": jsonl, "csv": csv} {
		s := serve(t, t.TempDir())
		exchange(t, s, 0, "import", "products", writeFile(t, "all."+format, text))
		if exported(t, s, n, "jsonl") != jsonl || exported(t, s, n, "csv") != csv {
			t.Errorf("imported from %s, the export is another", format)
		}
		s.stop()
	}
}

// exported is an export once the list has caught up with so many products.
func exported(t *testing.T, s *server, n int, format string) string {
	t.Helper()
	deadline := time.Now().Add(soon)
	path := filepath.Join(t.TempDir(), "export."+format)
	for {
		_, diagnostics := exchange(t, s, 0, "export", "products", path)
		if strings.HasPrefix(diagnostics, fmt.Sprintf("%d products", n)) {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			return string(text)
		}
		if time.Now().After(deadline) {
			t.Fatalf("never %d products: %s", n, diagnostics)
		}
		time.Sleep(100 * time.Millisecond) //nolint:forbidigo // a real process: there is nothing else to wait for
	}
}
