package gateway

import (
	_ "embed"
	"net/http"
)

//go:embed playground.html
var playgroundPage []byte

// playground is a page that needs nothing from elsewhere; nil without DevTools.
func (g *Gateway) playground() http.Handler {
	if !g.config.DevTools {
		return nil
	}
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
		_, _ = w.Write(playgroundPage) // a client that has gone is told nothing
	})
}
