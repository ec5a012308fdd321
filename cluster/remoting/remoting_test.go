package remoting_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stampede/cluster"
	"stampede/cluster/remoting"
	"stampede/proto/gen/clusterpb"
)

var quiet = slog.New(slog.DiscardHandler)

func listen(t *testing.T, c remoting.Config) *remoting.Remoting {
	t.Helper()
	if c.Listen == "" {
		c.Listen = "127.0.0.1:0"
	}
	c.Logger = quiet
	r, err := remoting.Listen(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// say sends a frame from one to the other, and reports what became of it.
func say(t *testing.T, from, to *remoting.Remoting) error {
	t.Helper()
	got := make(chan *clusterpb.Frame, 1)
	to.Serve(func(f *clusterpb.Frame) { got <- f })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	conn, err := from.Connect(ctx, to.Address())
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.Send(&clusterpb.Frame{From: "a", To: "b", View: 7, Requests: []*clusterpb.Request{{Id: 1, Command: []byte("x")}}}); err != nil {
		return err
	}
	select {
	case f := <-got:
		if f.GetView() != 7 || len(f.GetRequests()) != 1 || string(f.GetRequests()[0].GetCommand()) != "x" {
			t.Errorf("got %v", f)
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func TestFrameArrives(t *testing.T) {
	if err := say(t, listen(t, remoting.Config{}), listen(t, remoting.Config{})); err != nil {
		t.Error(err)
	}
}

// Whoever sends learns at once that the other end is gone.
func TestLostConnection(t *testing.T) {
	a, b := listen(t, remoting.Config{}), listen(t, remoting.Config{})
	b.Serve(func(*clusterpb.Frame) {})
	conn, err := a.Connect(t.Context(), b.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	b.Close()
	within(t, "the loss to be noticed", conn.Lost())
	// One that waits before it says so waits each time; a busy machine does not.
	quickest := time.Hour
	for range 20 {
		began := time.Now()
		if _, err := a.Connect(t.Context(), b.Address()); err == nil {
			t.Fatal("connected to a closed port")
		}
		if quickest = min(quickest, time.Since(began)); quickest < time.Second {
			return
		}
	}
	t.Errorf("that a port is closed takes %s to be said", quickest)
}

// A peer that takes nothing in holds up the one that sends to it, and closing
// the connection lets that one go.
func TestPeerThatTakesNothing(t *testing.T) {
	a, b := listen(t, remoting.Config{}), listen(t, remoting.Config{})
	hold := make(chan struct{})
	b.Serve(func(*clusterpb.Frame) { <-hold })
	defer close(hold)
	conn, err := a.Connect(t.Context(), b.Address())
	if err != nil {
		t.Fatal(err)
	}
	sent := make(chan struct{}, 1000)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		f := &clusterpb.Frame{Requests: []*clusterpb.Request{{Command: make([]byte, 1<<20)}}}
		for range 1000 {
			if conn.Send(f) != nil {
				return
			}
			sent <- struct{}{}
		}
	}()
	held := 0
	for quiet := false; !quiet; {
		select {
		case <-sent:
			held++
		case <-time.After(500 * time.Millisecond):
			quiet = true
		}
	}
	if held > 64 {
		t.Errorf("%d MiB were taken although nobody reads", held)
	}
	conn.Close()
	within(t, "the sender to be let go", stopped)
}

func within(t *testing.T, what string, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatalf("waited in vain for %s", what)
	}
}

func TestMutualTLS(t *testing.T) {
	ours, theirs := newAuthority(t), newAuthority(t)
	node := ours.issue(t, time.Hour)
	server := listen(t, remoting.Config{TLS: node})
	for name, c := range map[string]struct {
		peer remoting.Config
		in   bool
	}{
		"a node":                       {remoting.Config{TLS: ours.issue(t, time.Hour)}, true},
		"one of another authority":     {remoting.Config{TLS: withCA(theirs.issue(t, time.Hour), ours)}, false},
		"an expired certificate":       {remoting.Config{TLS: ours.issue(t, -time.Minute)}, false},
		"no TLS":                       {remoting.Config{}, false},
		"one that trusts others alone": {remoting.Config{TLS: withCA(ours.issue(t, time.Hour), theirs)}, false},
	} {
		t.Run(name, func(t *testing.T) {
			err := say(t, listen(t, c.peer), server)
			if (err == nil) != c.in {
				t.Errorf("got %v", err)
			}
		})
	}
	t.Run("to a node without TLS", func(t *testing.T) {
		if err := say(t, server, listen(t, remoting.Config{})); err == nil {
			t.Error("it was spoken to")
		}
	})
}

// A certificate that is renewed is used without a restart, and a broken one is not.
func TestRenewedCertificate(t *testing.T) {
	ca := newAuthority(t)
	files, fresh := ca.issue(t, -time.Minute), ca.issue(t, time.Hour)
	peer, server := listen(t, remoting.Config{TLS: files}), listen(t, remoting.Config{TLS: fresh})
	if err := say(t, peer, server); err == nil {
		t.Fatal("an expired certificate was taken")
	}
	for from, to := range map[string]string{fresh.Cert: files.Cert, fresh.Key: files.Key} {
		data, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		write(t, to, data)
	}
	if err := say(t, peer, server); err != nil {
		t.Errorf("the renewed one: %v", err)
	}
	write(t, files.Cert, []byte("broken"))
	if err := say(t, peer, server); err != nil {
		t.Errorf("after a broken one: %v", err)
	}
}

func TestRefusedConfigurations(t *testing.T) {
	files := newAuthority(t).issue(t, time.Hour)
	for name, c := range map[string]struct {
		config remoting.Config
		says   string
	}{
		"open to the network":  {remoting.Config{Listen: "0.0.0.0:0", Advertise: "x:0"}, "--cluster-tls-cert"},
		"all interfaces":       {remoting.Config{Listen: ":0", Advertise: "x:0"}, "--cluster-insecure"},
		"half of it":           {remoting.Config{Listen: "127.0.0.1:0", TLS: remoting.Files{Cert: files.Cert}}, "--cluster-tls-key"},
		"no such file":         {remoting.Config{Listen: "127.0.0.1:0", TLS: remoting.Files{Cert: "nowhere", Key: files.Key, CA: files.CA}}, "--cluster-tls-cert"},
		"no authority":         {remoting.Config{Listen: "127.0.0.1:0", TLS: remoting.Files{Cert: files.Cert, Key: files.Key, CA: files.Key}}, "--cluster-tls-ca"},
		"reached nowhere":      {remoting.Config{Listen: "0.0.0.0:0", Insecure: true}, "--cluster-advertise"},
		"advertised nonsense":  {remoting.Config{Listen: "127.0.0.1:0", Advertise: "here"}, "--cluster-advertise"},
		"a port that is taken": {remoting.Config{Listen: listen(t, remoting.Config{}).Address()}, "--cluster-listen"},
	} {
		t.Run(name, func(t *testing.T) {
			c.config.Logger = quiet
			r, err := remoting.Listen(t.Context(), c.config)
			if err == nil {
				r.Close()
				t.Fatal("it listens")
			}
			if !strings.Contains(err.Error(), c.says) {
				t.Errorf("%q does not name %s", err, c.says)
			}
		})
	}
}

func TestAdvertisedAddress(t *testing.T) {
	r := listen(t, remoting.Config{Listen: "0.0.0.0:0", Insecure: true, Advertise: "node-1.example:0"})
	host, port, err := net.SplitHostPort(r.Address())
	if err != nil || host != "node-1.example" || port == "0" {
		t.Errorf("%s, %v", r.Address(), err)
	}
}

// A name that all certificates share takes the place of each node's host, and
// what has another name is no node.
func TestServerName(t *testing.T) {
	ours := newAuthority(t)
	named := func(name string) remoting.Config {
		return remoting.Config{TLS: ours.issueTo(t, time.Hour, &x509.Certificate{DNSNames: []string{name}}), ServerName: "stampede-node"}
	}
	if err := say(t, listen(t, named("stampede-node")), listen(t, named("stampede-node"))); err != nil {
		t.Error(err)
	}
	if err := say(t, listen(t, named("stampede-node")), listen(t, named("something-else"))); err == nil {
		t.Error("a certificate of another name was taken")
	}
	hosts := named("stampede-node")
	hosts.ServerName = ""
	if err := say(t, listen(t, hosts), listen(t, named("stampede-node"))); err == nil {
		t.Error("a certificate that does not name the host was taken")
	}
}

var _ cluster.Transport = (*remoting.Remoting)(nil)

// authority is a certificate authority of a test.
type authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{dir: t.TempDir(), key: newKey(t)}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "cluster"}, NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key)
	if err == nil {
		a.cert, err = x509.ParseCertificate(der)
	}
	if err != nil {
		t.Fatal(err)
	}
	write(t, a.file(), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return a
}

func (a *authority) file() string { return filepath.Join(a.dir, "ca.pem") }

// issue makes a node's files, valid for that long from now.
func (a *authority) issue(t *testing.T, valid time.Duration) remoting.Files {
	t.Helper()
	return a.issueTo(t, valid, &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}})
}

// issueTo makes the files of a node with the names of the template.
func (a *authority) issueTo(t *testing.T, valid time.Duration, template *x509.Certificate) remoting.Files {
	t.Helper()
	key, dir := newKey(t), t.TempDir()
	template.SerialNumber, template.Subject = big.NewInt(2), pkix.Name{CommonName: "node"}
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(valid)
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	pkcs8, keyErr := x509.MarshalPKCS8PrivateKey(key)
	if err := errors.Join(err, keyErr); err != nil {
		t.Fatal(err)
	}
	f := remoting.Files{Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem"), CA: a.file()}
	write(t, f.Cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	write(t, f.Key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))
	return f
}

func withCA(f remoting.Files, a *authority) remoting.Files {
	f.CA = a.file()
	return f
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func write(t *testing.T, file string, data []byte) {
	t.Helper()
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// Whoever connects and does not show who it is does not keep its connection.
func TestMuteConnectionIsClosed(t *testing.T) {
	t.Parallel()
	r := listen(t, remoting.Config{})
	conn, err := net.Dial("tcp", r.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	for buffer := make([]byte, 1024); err == nil; {
		_, err = conn.Read(buffer) // the server's side of the greeting comes first
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("it was left open")
	}
}
