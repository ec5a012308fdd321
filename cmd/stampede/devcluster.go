package main

// make cluster: what docker-compose.yml starts in containers, as processes on
// loopback: a replica set, a Kafka, nodes with TLS between them, and a load
// balancer in front.

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"stampede/cmd/stampede/internal/balancer"
	"stampede/cmd/stampede/internal/catalogue"
	"stampede/cmd/stampede/internal/shop"
)

// devClusterCmd is a cluster on this machine. It is for developers: hidden, and
// run by make cluster.
type devClusterCmd struct {
	Nodes  int       `default:"3" placeholder:"N" help:"Node processes."`
	Listen string    `default:"127.0.0.1:8080" placeholder:"HOST:PORT" help:"The load balancer. Port 0 picks a free one."`
	Mongo  secretURI `placeholder:"URI" help:"A MongoDB that runs already, instead of what make servers has fetched; a database of its own is made in it, and removed."`
	Kafka  []string  `placeholder:"HOST:PORT" sep:"," help:"A Kafka that runs already."`
}

// Validate lists everything that is wrong with the configuration.
func (c *devClusterCmd) Validate() faults {
	var wrong faults
	checkCount(&wrong, "nodes", c.Nodes, maxFleet)
	checkAddress(&wrong, "listen", c.Listen, true)
	if host, _, err := net.SplitHostPort(c.Listen); err == nil && !loopback(host) {
		wrong.add("listen", "%s is more than loopback, which this is not for", c.Listen)
	}
	store := storeFlags{DataDir: ".", Mongo: c.Mongo, MongoDatabase: "default"}
	store.validate(&wrong)
	for _, broker := range c.Kafka {
		checkAddress(&wrong, "kafka", broker, false)
	}
	return wrong
}

// Run runs the cluster until ctx ends, and then ends everything that it started.
func (c *devClusterCmd) Run(ctx context.Context, std streams) (err error) {
	directory, err := os.MkdirTemp("", "stampede-cluster-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(directory)) }()
	fmt.Fprintln(std.err, "Starting a database, a broker and the nodes …")
	behind, err := startBacking(c.Mongo, c.Kafka)
	if err != nil {
		return err
	}
	database := "stampede_cluster_" + randomHex(4)
	defer func() {
		if len(behind.own) < 2 { // one of them stays
			err = errors.Join(err, dropDatabase(behind.mongo, database))
		}
		behind.stop()
	}()
	nodes, err := startFleet(ctx, fleetConfig{
		nodes: c.Nodes, directory: directory, mongo: behind.mongo, database: database, kafka: behind.kafka, admin: devAdmin,
		more: []string{"--dev-tools", "--trusted-proxies=127.0.0.0/8", "--log-level=info"},
	})
	if ctx.Err() != nil {
		return nil // told to end while starting
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, nodes.stop()) }()
	url, closeBalancer, err := c.balance(ctx, nodes, std)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeBalancer()) }()
	if err := c.welcome(ctx, url, nodes, behind, std); err != nil {
		return err
	}
	var watching sync.WaitGroup
	for _, n := range nodes.nodes {
		watching.Go(func() { sayWhenItEnds(ctx, n, std) })
	}
	<-ctx.Done()
	watching.Wait()
	fmt.Fprintln(std.err, "Ending all of it …")
	return nil
}

// balance starts the load balancer.
func (c *devClusterCmd) balance(ctx context.Context, f *fleet, std streams) (string, func() error, error) {
	var nodes []balancer.Node
	for _, n := range f.nodes {
		nodes = append(nodes, balancer.Node{URL: n.URL, Admin: n.Admin})
	}
	b, err := balancer.New(nodes, (&logFlags{LogLevel: "warn", LogFormat: "text"}).logger(std.err))
	if err != nil {
		return "", nil, err
	}
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", c.Listen)
	if err != nil {
		return "", nil, otherAddress(fmt.Errorf("load balancer: %w", err), "listen")
	}
	server := &http.Server{Handler: b, ReadHeaderTimeout: readHeaderTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes}
	watch, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { b.Watch(watch) })
	running.Go(func() { _ = server.Serve(listener) }) // it ends by Close, and then says so
	return "http://" + listener.Addr().String(), func() error {
		err := server.Close()
		cancel()
		running.Wait()
		return err
	}, nil
}

// welcome fills the shop and says what can be done with the cluster.
func (c *devClusterCmd) welcome(ctx context.Context, url string, f *fleet, behind *backing, std streams) error {
	password, err := f.secrets.ReadPassword()
	if err != nil {
		return err
	}
	staff := shop.NewClient(url, "")
	if staff.Token, err = staff.LogIn(ctx, devAdmin, password); err != nil {
		return err
	}
	if _, err := catalogue.Fill(ctx, staff); err != nil {
		return err
	}
	fmt.Fprintf(std.out, "A cluster of %d nodes is open.\n\n", c.Nodes)
	for _, line := range [][2]string{
		{"shop", url + "/"},
		{"console", url + "/console"},
		{"GraphQL", url + "/graphql"},
		{"operator", devAdmin + "   password " + password},
		{"MongoDB", behind.mongo.String() + "   database " + f.config.database},
		{"Kafka", strings.Join(behind.kafka, ",")},
	} {
		fmt.Fprintf(std.out, "  %-10s  %s\n", line[0], line[1])
	}
	for _, n := range f.nodes {
		fmt.Fprintf(std.out, "  %-10s  %s   health %s/readyz   kill -9 %d\n", n.name, n.URL, n.Admin, n.PID())
	}
	fmt.Fprintf(std.out, `
In another terminal:

  export STAMPEDE_URL=%s STAMPEDE_STAFF_EMAIL=%s STAMPEDE_STAFF_PASSWORD=%s
  go run ./cmd/stampede member list            who is in the cluster
  go run ./cmd/stampede member drain node-2    it hands over what it has, and ends
  go run ./cmd/stampede bench --url %s

Ctrl-C ends all of it. %s holds its keys until then.
`, url, devAdmin, password, url, filepath.Clean(f.config.directory))
	fmt.Fprintf(std.out, "ready url=%s admin=%s kafka=%s\n", url, f.nodes[0].Admin, strings.Join(behind.kafka, ","))
	return nil
}

// sayWhenItEnds says that a node has ended, and with what last words, while the
// cluster goes on.
func sayWhenItEnds(ctx context.Context, n *fleetNode, std streams) {
	select {
	case <-ctx.Done():
	case <-n.Exited():
		fmt.Fprintf(std.err, "%s has ended at %s\n", n.name, time.Now().Format(time.TimeOnly))
		n.leaves = true
	}
}
