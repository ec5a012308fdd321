package e2e

// Clusters of other shapes: roles apart, certificates between nodes, a clock
// that is wrong, and two releases side by side.

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"stampede/internal/testservers"
)

// A gateway, two nodes that only host actors, one that only publishes, and one
// that does everything, with certificates between them. A node without a
// certificate of theirs is not let in. A host of actors and the gateway that
// asks are killed; the rest goes on.
func clusterRolesAndCertificates(t *testing.T) {
	f := newFleet(t, "")
	ours := newClusterAuthority(t)
	start := func(name, roles string) *clusterNode {
		return f.start(name, append(ours.issue(t), "--roles="+roles)...)
	}
	first := start("first", "actors") // before the gateways, whose first start makes the operator
	start("second", "actors")
	gateway := start("gateway", "gateway")
	other := start("other", "gateway")
	start("publisher", "publisher")
	f.settled()
	if first.url != "" {
		t.Errorf("%s hosts actors alone and has a public address: %s", first.name, first.url)
	}
	l := newLoad(t, f, 80, 100_000)
	l.start(8)
	l.more(80)
	if owner := f.owner("sku", l.hot); owner.roles != "actors" {
		t.Errorf("%s, which is %s, owns an actor", owner.name, owner.roles)
	}
	refuseStranger(t, f)
	killed := f.owner("sku", l.hot)
	f.kill(killed)
	l.more(60)
	start(killed.name, "actors")
	f.kill(gateway)
	f.ended(gateway)
	l.more(60)
	if len(f.urls()) != 1 || f.urls()[0] != other.url {
		t.Errorf("the gateways are %v", f.urls())
	}
	gap, why := l.gap()
	t.Logf("longest wait: %s: %s", gap.Round(time.Millisecond), why)
	l.verify()
	l.recovered()
}

// refuseStranger: a node with a certificate of another authority joins the
// table, for it has MongoDB's address, but no node takes a message of it.
func refuseStranger(t *testing.T, f *fleet) {
	t.Helper()
	theirs := newClusterAuthority(t)
	args := append([]string{
		"serve", "--data-dir=" + t.TempDir(), "--node-name=stranger", "--mongo=" + f.mongo, "--mongo-database=" + f.name, "--kafka=" + f.kafka,
		"--cluster-listen=127.0.0.1:0", "--roles=gateway", "--bootstrap-admin=" + operatorEmail,
	}, append(f.flags, theirs.issue(t)...)...)
	s, err := launch(t, args...)
	if err != nil { // nobody answered it who its operator is
		if !strings.Contains(err.Error(), "operator of --bootstrap-admin") {
			t.Errorf("the stranger did not start for another reason: %v", err)
		}
		return
	}
	defer s.kill()
	own := newClient(place(s.url), f.operator.token)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	levels, err := own.stock(ctx, f.sku("HOT"))
	if err == nil && len(levels) == 1 && levels[0] != nil {
		t.Errorf("a node with a stranger's certificate was answered: %+v", *levels[0])
	}
}

// holdMinutes is how long a hold lasts where one has to be waited for.
const clockHold = 6 * time.Second

// One node's clock is an hour off, either way. Nobody is put out for it, and a
// hold whose deadline its owner set lasts as long as it should by that clock.
func clusterClocks(t *testing.T) {
	for _, offset := range []time.Duration{time.Hour, -time.Hour} {
		t.Run(offset.String(), func(t *testing.T) {
			f := newFleet(t, "")
			f.flags = append(f.flags, "--hold-minutes="+strconv.FormatFloat(clockHold.Minutes(), 'f', -1, 64))
			// All actors have one clock: that of the node which hosts them.
			wrong := f.start("wrong", "--roles=actors", "--test-clock-offset="+offset.String())
			f.start("right", "--roles=gateway,publisher")
			f.settled()
			l := newLoad(t, f, 50, 100_000)
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
			defer cancel()
			shopper := &client{place(f.urls()[0]), l.customers[0].token, l.customers[0].http}
			asked := time.Now()
			o, err := settle(ctx, func() (*order, error) { return shopper.place(ctx, "held", "", want{l.hot, 1}) })
			if err != nil || o.State != "RESERVED" {
				t.Fatal(unexpected("placing", o, err))
			}
			if deadline := o.ExpiresAt.Sub(asked); deadline < offset+clockHold-time.Second || deadline > offset+clockHold+time.Minute {
				t.Errorf("by a clock %s off, the hold of %s ends in %s", offset, clockHold, deadline)
			}
			eventually(t, soon, "the hold ends", func() error {
				levels, err := settle(ctx, func() ([]*level, error) { return shopper.stock(ctx, l.hot) })
				if err != nil {
					return err
				}
				held := time.Since(asked)
				switch {
				case levels[0].Held == 0 && held < clockHold:
					t.Errorf("a hold of %s has ended after %s", clockHold, held)
				case levels[0].Held == 1:
					return fmt.Errorf("held for %s", held)
				}
				return nil
			})
			if lasted := time.Since(asked); lasted > clockHold+time.Minute {
				t.Errorf("a hold of %s lasted %s", clockHold, lasted)
			}
			if m := f.members()[wrong.name]; m.State != "UP" {
				t.Errorf("the node with the wrong clock is %q", m.State)
			}
			f.start("newcomer", "--roles=actors") // actors move between the clocks
			f.settled()
			if names := f.members(); len(names) != 3 {
				t.Errorf("members are %v", names)
			}
			f.sameNodes()
			f.stop()
		})
	}
}

// earlierRelease is the first commit whose nodes live, drain and publish together.
const earlierRelease = "af0a7b3"

// earlierLacks is the header that its stock levels are without.
const earlierLacks = "traceparent"

// earlier builds the program of an earlier commit.
func earlier(t *testing.T, commit string) string {
	t.Helper()
	root, err := exec.Command("git", "rev-parse", "--show-toplevel").Output()
	if err != nil {
		testservers.Missing(t, "the history of this repository", "run it in a clone", err)
	}
	dir := t.TempDir()
	source := filepath.Join(dir, "source")
	if err := os.Mkdir(source, 0o700); err != nil {
		t.Fatal(err)
	}
	archive := exec.Command("git", "archive", "--format=tar", "--output="+filepath.Join(dir, "source.tar"), commit)
	archive.Dir = strings.TrimSpace(string(root))
	if out, err := archive.CombinedOutput(); err != nil {
		testservers.Missing(t, "the commit "+commit, "run it in a clone with its history", fmt.Errorf("%w: %s", err, out))
	}
	if out, err := exec.Command("tar", "-xf", filepath.Join(dir, "source.tar"), "-C", source).CombinedOutput(); err != nil {
		t.Fatalf("unpacking %s: %v\n%s", commit, err, out)
	}
	binary := filepath.Join(dir, "stampede")
	build := exec.Command("go", "build", "-trimpath", "-o", binary, "./cmd/stampede")
	build.Dir = source
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building %s: %v\n%s", commit, err, out)
	}
	return binary
}

// Nodes of an earlier release are replaced one by one by this one's, under load,
// and then the other way round: one cluster, one journal, both ways.
func clusterRollingUpgrade(t *testing.T) {
	old := earlier(t, earlierRelease)
	f := newFleet(t, "")
	f.flags = append(f.flags, drainFlag())
	f.mayLack = []string{earlierLacks}
	for i := range 3 {
		f.startProgram(old, fmt.Sprintf("old%d", i))
	}
	f.settled()
	l := newLoad(t, f, 60, 100_000)
	l.start(8)
	l.more(60)
	replace := func(binary, name string) {
		t.Helper()
		before := l.failures()
		leaving := f.living()[0]
		f.startProgram(binary, name)
		f.settled()
		l.more(40)
		f.leave(leaving, f.terminate)
		f.settled()
		l.more(40)
		l.unharmed(leaving.name+" replaced by "+name, before)
	}
	for i := range 3 {
		replace(program(t), fmt.Sprintf("new%d", i))
	}
	for i := range 3 {
		replace(old, fmt.Sprintf("old%d", 3+i))
	}
	// Of each once, one is killed: what one release wrote the other recovers.
	f.startProgram(program(t), "new3")
	f.settled()
	for range 2 {
		owner := f.owner("sku", l.hot)
		f.kill(owner)
		f.ended(owner)
		l.more(60)
	}
	gap, why := l.gap()
	t.Logf("longest wait: %s: %s", gap.Round(time.Millisecond), why)
	l.verify()
	l.recovered()
}

// clusterAuthority signs nodes' certificates.
type clusterAuthority struct {
	t    *testing.T
	ca   string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newClusterAuthority(t *testing.T) *clusterAuthority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := &clusterAuthority{t: t, key: key, ca: filepath.Join(t.TempDir(), "ca.pem")}
	a.cert = &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "cluster"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, a.cert, a.cert, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	a.write(a.ca, "CERTIFICATE", der)
	return a
}

// issue makes a node's certificate, and the flags that use it.
func (a *clusterAuthority) issue(t *testing.T) []string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "node"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	private, keyErr := x509.MarshalPKCS8PrivateKey(key)
	if err := errors.Join(err, keyErr); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	a.write(filepath.Join(dir, "cert.pem"), "CERTIFICATE", der)
	a.write(filepath.Join(dir, "key.pem"), "PRIVATE KEY", private)
	return []string{"--cluster-tls-cert=" + filepath.Join(dir, "cert.pem"), "--cluster-tls-key=" + filepath.Join(dir, "key.pem"), "--cluster-tls-ca=" + a.ca}
}

func (a *clusterAuthority) write(file, kind string, der []byte) {
	a.t.Helper()
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
}
