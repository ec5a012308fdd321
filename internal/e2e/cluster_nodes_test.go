package e2e

// Nodes of one cluster as processes: started, waited for, killed, stopped,
// drained and started again, on one MongoDB and one Kafka.

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"stampede/internal/testservers"
)

// place is a URL that a client asks.
type place string

func (p place) String() string { return string(p) }

// fleet is a cluster under test. Its methods are for the test's goroutine, but
// for urls.
type fleet struct {
	t     testing.TB
	mongo string
	kafka string
	// flags are every node's.
	flags []string
	// name is the database's, and a part of every SKU's: one Kafka has the topics
	// of all scenarios.
	name string
	// mayLack are headers that earlier releases among the nodes did not write.
	mayLack  []string
	nodes    []*clusterNode
	operator *client
	gateways atomic.Pointer[[]string]
}

// clusterNode is one process of it.
type clusterNode struct {
	*server
	name  string
	roles string
	flags []string
	// gone: it was ended, in whatever way.
	gone bool
}

// newFleet is a cluster without nodes on the servers that all scenarios share,
// unless mongo names another.
func newFleet(t testing.TB, mongo string) *fleet {
	t.Helper()
	if mongo == "" {
		mongo = testservers.Mongo(t)
	}
	return &fleet{t: t, mongo: mongo, kafka: testservers.Kafka(t), name: "e2e-" + strings.ToLower(rand.Text()[:10]), flags: []string{"--signing-keys=" + t.TempDir()}}
}

// startFleet is a cluster of so many nodes that all know each other.
func startFleet(t testing.TB, nodes int, flags ...string) *fleet {
	t.Helper()
	f := newFleet(t, "")
	f.flags = append(f.flags, flags...)
	for i := range nodes {
		f.start(fmt.Sprintf("n%d", i))
	}
	f.settled()
	return f
}

// sku is a name that only this cluster has.
func (f *fleet) sku(short string) string { return strings.ToUpper(f.name) + "-" + short }

// start adds a node and waits until it is ready. A later flag wins.
func (f *fleet) start(name string, flags ...string) *clusterNode {
	f.t.Helper()
	return f.startProgram(program(f.t), name, flags...)
}

func (f *fleet) startProgram(binary, name string, flags ...string) *clusterNode {
	f.t.Helper()
	n := &clusterNode{name: name, roles: "all", flags: flags}
	args := append([]string{
		"serve", "--data-dir=" + f.t.TempDir(), "--bootstrap-admin=" + operatorEmail, "--node-name=" + name, "--mongo=" + f.mongo, "--mongo-database=" + f.name,
		"--kafka=" + f.kafka, "--cluster-listen=127.0.0.1:0",
	}, f.flags...)
	for _, one := range flags {
		if roles, ok := strings.CutPrefix(one, "--roles="); ok {
			n.roles = roles
		}
		if name, _, ok := strings.Cut(one, "="); ok {
			args = slices.DeleteFunc(args, func(a string) bool { return strings.HasPrefix(a, name+"=") })
		}
	}
	var err error
	if n.server, err = launchProgram(f.t, binary, append(args, flags...)...); err != nil {
		f.t.Fatalf("node %s: %v", name, err)
	}
	f.nodes = append(f.nodes, n)
	f.announce()
	return n
}

// announce tells clients where they can ask.
func (f *fleet) announce() {
	var urls []string
	for _, n := range f.nodes {
		if !n.gone && n.url != "" {
			urls = append(urls, n.url)
		}
	}
	f.gateways.Store(&urls)
}

// urls are the gateways that clients are told of.
func (f *fleet) urls() []string { return *f.gateways.Load() }

func (f *fleet) living() []*clusterNode {
	return slices.DeleteFunc(slices.Clone(f.nodes), func(n *clusterNode) bool { return n.gone })
}

// ended notes that the node is no more, once clients have found out by
// themselves or are to be told.
func (f *fleet) ended(n *clusterNode) {
	n.gone = true
	f.announce()
}

// kill ends a node with SIGKILL. Clients are not told.
func (f *fleet) kill(n *clusterNode) {
	n.server.kill()
	n.gone = true
}

// again starts a killed node's successor.
func (f *fleet) again(n *clusterNode) *clusterNode {
	f.t.Helper()
	return f.start(n.name, n.flags...)
}

// drain has a node leave, as its operator would by the API, and waits for its end.
func (f *fleet) drain(n *clusterNode) {
	f.t.Helper()
	id := f.members()[n.name].ID
	ctx, cancel := context.WithTimeout(f.t.Context(), soon)
	defer cancel()
	err := f.ask(ctx, func(c *client) error {
		return c.mutate(ctx, "drainMember", "DrainMemberInput", "member{id}", map[string]any{"id": id}, &struct{}{})
	})
	if err != nil {
		f.t.Fatalf("draining %s: %v", n.name, err)
	}
	n.server.ended()
	f.ended(n)
}

// terminate is a drain by SIGTERM.
func (f *fleet) terminate(n *clusterNode) {
	f.t.Helper()
	n.server.stop()
	f.ended(n)
}

// freeze stops the process where it is; thaw lets it go on.
func (n *clusterNode) freeze() { n.signal(syscall.SIGSTOP) }
func (n *clusterNode) thaw()   { n.signal(syscall.SIGCONT) }

func (n *clusterNode) signal(s syscall.Signal) {
	n.t.Helper()
	if err := n.cmd.Process.Signal(s); err != nil {
		n.t.Fatalf("%s to %s: %v", s, n.name, err)
	}
}

// failed waits for the end of a node that was put out: not with status 0, and
// saying why.
func (n *clusterNode) failed(within time.Duration, why string) {
	n.t.Helper()
	timeout := time.NewTimer(within)
	defer timeout.Stop()
	select {
	case <-n.exited:
		var exit *exec.ExitError
		if !errors.As(n.err, &exit) || exit.ExitCode() != 1 {
			n.t.Errorf("%s ended with %v, not with status 1", n.name, n.err)
		}
		if !strings.Contains(n.stderr.String(), why) {
			n.t.Errorf("%s does not say %q", n.name, why)
		}
	case <-timeout.C:
		n.t.Errorf("%s is still there after %s", n.name, within)
	}
}

type clusterMember struct{ ID, Name, State, Version string }

// asOperator is the operator's client of a node.
func (f *fleet) asOperator(url string) *client {
	if f.operator == nil {
		c := newClient(place(url), "")
		ctx, cancel := context.WithTimeout(f.t.Context(), soon)
		defer cancel()
		in, err := settle(ctx, func() (session, error) { return c.logIn(ctx, operatorEmail, operatorPassword) })
		if err != nil {
			f.t.Fatalf("operator's log-in: %v", err)
		}
		c.token = in.Tokens.AccessToken
		f.operator = c
	}
	return &client{place(url), f.operator.token, f.operator.http}
}

// ask asks one gateway after the other, for as long as ctx allows.
func (f *fleet) ask(ctx context.Context, do func(*client) error) error {
	for try := 0; ; try++ {
		urls := f.urls()
		if len(urls) == 0 {
			return errors.New("there is no gateway")
		}
		err := do(f.asOperator(urls[try%len(urls)]))
		if err == nil || !open(err) || !pause(ctx, 20*time.Millisecond) {
			return err
		}
	}
}

// membersAt are the members that are not DOWN as one gateway shows them.
func (f *fleet) membersAt(ctx context.Context, c *client) ([]clusterMember, error) {
	var data struct{ Members []clusterMember }
	if err := c.ask(ctx, `{members{id name state version}}`, nil, &data); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(data.Members, func(m clusterMember) bool { return m.State == "DOWN" }), nil
}

// members are those that are not DOWN, by name.
func (f *fleet) members() map[string]clusterMember {
	f.t.Helper()
	byName := map[string]clusterMember{}
	ctx, cancel := context.WithTimeout(f.t.Context(), soon)
	defer cancel()
	err := f.ask(ctx, func(c *client) error {
		all, err := f.membersAt(ctx, c)
		for _, m := range all {
			byName[m.Name] = m
		}
		return err
	})
	if err != nil {
		f.t.Fatalf("members: %v", err)
	}
	return byName
}

// settled waits until every gateway shows exactly the living nodes, all UP.
func (f *fleet) settled() {
	f.t.Helper()
	f.announce()
	want := len(f.living())
	eventually(f.t, time.Minute, "all gateways show who there is", func() error {
		ctx, cancel := context.WithTimeout(f.t.Context(), soon)
		defer cancel()
		for _, url := range f.urls() {
			all, err := f.membersAt(ctx, f.asOperator(url))
			if err != nil {
				return err
			}
			up := 0
			for _, m := range all {
				if m.State == "UP" {
					up++
				}
			}
			if up != want || len(all) != want {
				return fmt.Errorf("%s shows %v, there are %d", url, all, want)
			}
		}
		return nil
	})
}

// ownerID is the member that owns an actor, as a gateway says.
func (f *fleet) ownerID(kind, key string) string {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), soon)
	defer cancel()
	var data struct{ Actor struct{ Member string } }
	err := f.ask(ctx, func(c *client) error {
		return c.ask(ctx, `query Q($kind:String!,$key:String!){actor(kind:$kind,key:$key){member}}`, map[string]any{"kind": kind, "key": key}, &data)
	})
	if err != nil {
		f.t.Fatalf("actor %s %s: %v", kind, key, err)
	}
	return data.Actor.Member
}

// owner is the node that owns an actor.
func (f *fleet) owner(kind, key string) *clusterNode {
	f.t.Helper()
	id := f.ownerID(kind, key)
	for _, n := range f.living() {
		if f.idOf(n) == id {
			return n
		}
	}
	f.t.Fatalf("%s %s is owned by %q, which is none of the nodes", kind, key, id)
	return nil
}

// idOf is the node's member, as the node has logged it.
func (f *fleet) idOf(n *clusterNode) string {
	f.t.Helper()
	_, rest, ok := strings.Cut(n.stderr.String(), " member=")
	if !ok {
		f.t.Fatalf("%s does not say which member it is", n.name)
	}
	id, _, _ := strings.Cut(rest, " ")
	return id
}

// other is a node that serves clients and is none of those.
func (f *fleet) other(not ...*clusterNode) *clusterNode {
	f.t.Helper()
	for _, n := range f.living() {
		if n.url != "" && !slices.Contains(not, n) {
			return n
		}
	}
	f.t.Fatal("there is no other node")
	return nil
}

// stop drains every node, and waits.
func (f *fleet) stop() {
	f.t.Helper()
	for _, n := range f.living() {
		n.server.terminate()
	}
	for _, n := range f.living() {
		n.server.ended()
		n.gone = true
	}
}

// readyStatus is the status of a node's /readyz; 0 if it does not answer.
func (n *clusterNode) readyStatus() int {
	c := http.Client{Timeout: 2 * time.Second}
	response, err := c.Get(n.admin + "/readyz")
	if err != nil {
		return 0
	}
	response.Body.Close()
	return response.StatusCode
}

// pause waits, and reports false if ctx ended.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
