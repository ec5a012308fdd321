package e2e

// A network that can be cut or slowed down: TCP proxies in front of nodes and of
// MongoDB. What is cut neither answers nor refuses: a refused connection would
// say that the process has ended.

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
)

// wire is a proxy to one address.
type wire struct {
	t     testing.TB
	proxy *toxiproxy.Proxy
}

func newWire(t testing.TB, upstream string) *wire {
	t.Helper()
	w := &wire{t, toxiproxy.NewProxy(toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop()), upstream, "127.0.0.1:0", upstream)}
	if err := w.proxy.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.proxy.Stop)
	return w
}

// address is where the proxy listens.
func (w *wire) address() string { return w.proxy.Listen }

// cut drops everything, both ways, and keeps the connections open.
func (w *wire) cut() {
	w.t.Helper()
	for _, direction := range []string{"upstream", "downstream"} {
		w.add(fmt.Sprintf(`{"name":"cut-%[1]s","type":"timeout","stream":"%[1]s","attributes":{"timeout":0}}`, direction))
	}
}

// slow delays what comes back.
func (w *wire) slow(by time.Duration) {
	w.t.Helper()
	w.delay("downstream", by)
}

// delay delays what goes one way.
func (w *wire) delay(direction string, by time.Duration) {
	w.t.Helper()
	w.add(fmt.Sprintf(`{"name":"slow-%[1]s","type":"latency","stream":"%[1]s","attributes":{"latency":%[2]d}}`, direction, by.Milliseconds()))
}

// heal undoes all of it. Connections that were cut end.
func (w *wire) heal() { w.proxy.Toxics.ResetToxics(context.Background()) }

func (w *wire) add(toxic string) {
	w.t.Helper()
	if _, err := w.proxy.Toxics.AddToxicJson(strings.NewReader(toxic)); err != nil {
		w.t.Fatal(err)
	}
}

// mongoVia is the URI of a MongoDB through the proxy: a driver that
// looked for the replica set's members would go round it.
func mongoVia(w *wire) string {
	return "mongodb://" + w.address() + "/?directConnection=true"
}

// mongoAddress is the host and port of a URI with one.
func mongoAddress(t testing.TB, uri string) string {
	t.Helper()
	rest, ok := strings.CutPrefix(uri, "mongodb://")
	host, _, _ := strings.Cut(rest, "/")
	if !ok || strings.Contains(host, ",") || strings.Contains(host, "@") {
		t.Fatalf("not the URI of one mongod: %s", uri)
	}
	return host
}

// freePort is one that a node can listen on: a proxy has to know it before.
func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
