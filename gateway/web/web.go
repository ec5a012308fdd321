// Package web serves the two pages of the shop: the storefront at / and the
// operator's console at /console. They are clients of the GraphQL API like any
// other; nothing here knows an actor or a database.
package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"io/fs"
	"net/http"
	"strings"
	"time"
)

//go:embed static
var static embed.FS

// policy lets the pages load and call only what this server serves.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: https:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// asset is one file with what its answer's headers say.
type asset struct {
	body []byte
	etag string
}

// Storefront serves / and the files under /assets/.
func Storefront() (http.Handler, error) { return newPages("/", "index.html") }

// Console serves /console.
func Console() (http.Handler, error) { return newPages("/console", "console.html") }

type pages struct {
	path   string
	page   asset
	name   string
	assets map[string]asset
}

func newPages(path, page string) (*pages, error) {
	p := &pages{path: path, name: page, assets: map[string]asset{}}
	err := fs.WalkDir(static, "static", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		body, err := static.ReadFile(name)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(body)
		p.assets[d.Name()] = asset{body: body, etag: `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("embedded pages: %w", err)
	}
	p.page = p.assets[page]
	return p, nil
}

// ServeHTTP answers the page itself and the scripts, styles and pictures that it uses.
func (p *pages) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "only GET and HEAD here; the API is POST /graphql", http.StatusMethodNotAllowed)
		return
	}
	// Any other path is no page: a health check at this port must not pass.
	name, a, ok := p.name, p.page, r.URL.Path == p.path || r.URL.Path == p.path+"/"
	if file, found := strings.CutPrefix(r.URL.Path, "/assets/"); found {
		name = file
		a, ok = p.assets[file]
	}
	if !ok || strings.HasSuffix(name, ".html") && name != p.name {
		http.NotFound(w, r)
		return
	}
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-cache")
	h.Set("ETag", a.etag)
	http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(a.body))
}
