package main

// The demo with several nodes: they share a MongoDB and a Kafka, some are killed
// and some drained in mid-sale, and shoppers go on at the others.

import (
	"context"
	"fmt"
	"io"

	"stampede/cmd/stampede/internal/proof"
	"stampede/cmd/stampede/internal/sale"
	"stampede/cmd/stampede/internal/shop"
	"stampede/gateway/auth"
)

// nodesFlags say how many nodes the demo has and what becomes of them.
type nodesFlags struct {
	Nodes int `default:"1" placeholder:"N" group:"The server" help:"Node processes; more than one share --mongo and --kafka, or what \"make servers\" has fetched."`
	Kill  int `default:"0" placeholder:"N" group:"The sale" help:"Of several nodes, how many are killed with SIGKILL in mid-sale: first the one that decides over the first SKU."`
	Drain int `default:"0" placeholder:"N" group:"The sale" help:"Of several nodes, how many are drained in mid-sale."`
}

func (f *nodesFlags) validate(wrong *faults, crash bool) {
	checkCount(wrong, "nodes", f.Nodes, maxFleet)
	for _, one := range []struct {
		flag string
		n    int
	}{{"kill", f.Kill}, {"drain", f.Drain}} {
		if one.n < 0 {
			wrong.add(one.flag, "is %d; 0 or more is right", one.n)
		}
	}
	if wrong.has("nodes") || wrong.has("kill") || wrong.has("drain") {
		return
	}
	if f.Kill+f.Drain >= f.Nodes && f.Kill+f.Drain > 0 {
		wrong.add("nodes", "is %d, but %d are killed or drained; one at least has to stay", f.Nodes, f.Kill+f.Drain)
	}
	if f.Nodes > 1 && crash {
		wrong.add("crash", "restarts the one server that there is; of several nodes --kill kills some")
	}
}

// demoNodes are the demo's own nodes. Only the goroutine of the demo, and that of
// the sale's steps while it waits for the sale, touch it.
type demoNodes struct {
	demo      *demoCmd
	run       string
	directory string
	out       io.Writer

	backing *backing
	fleet   *fleet
	staff   *shop.Client
	sale    underWay
	killed  int
	drained int
}

func (d *demoNodes) start(ctx context.Context) error {
	var err error
	if d.demo.Mongo == "" || len(d.demo.Kafka) == 0 {
		fmt.Fprintln(d.out, "Starting a database and a broker …")
	}
	if d.backing, err = startBacking(d.demo.Mongo, d.demo.Kafka); err != nil {
		return err
	}
	d.fleet, err = startFleet(ctx, fleetConfig{
		nodes: d.demo.Nodes, directory: d.directory, mongo: d.backing.mongo, database: d.database(), kafka: d.backing.kafka, admin: demoAdmin,
		more: []string{
			"--payments=simulator", fmt.Sprintf("--hold-minutes=%v", d.demo.holdFor().Minutes()),
			fmt.Sprintf("--kafka-replication=%d", d.demo.KafkaReplication), "--events-format=" + d.demo.EventsFormat,
		},
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(d.out, "%d nodes of its own:", d.demo.Nodes)
	for _, n := range d.fleet.nodes {
		fmt.Fprintf(d.out, " %s (pid %d, %s)", n.name, n.PID(), n.URL)
	}
	fmt.Fprintln(d.out)
	return nil
}

func (d *demoNodes) database() string { return d.demo.database(d.run) }

func (d *demoNodes) kafka() []string { return d.backing.kafka }

// config logs in as the operator and says how to sell at all nodes.
func (d *demoNodes) config(ctx context.Context) (sale.Config, error) {
	var none sale.Config
	password, err := d.fleet.secrets.ReadPassword()
	if err != nil {
		return none, err
	}
	d.staff = shop.NewClient(d.fleet.nodes[0].URL, "")
	if d.staff.Token, err = d.staff.LogIn(ctx, demoAdmin, password); err != nil {
		return none, err
	}
	sign, err := signer(d.fleet.secrets.SigningKeys)
	if err != nil {
		return none, err
	}
	config := d.demo.saleConfig(d.run, d.staff, sign)
	config.URL = d.fleet.nodes[0].URL
	for _, n := range d.fleet.nodes[1:] {
		config.Others = append(config.Others, n.URL)
	}
	for range d.demo.Kill {
		config.Steps = append(config.Steps, func() error { return d.kill(ctx) })
	}
	for range d.demo.Drain {
		config.Steps = append(config.Steps, func() error { return d.drain(ctx) })
	}
	return config, nil
}

func (d *demoNodes) watches(one underWay) { d.sale = one }

// kill ends the node that hurts most as a power cut would.
func (d *demoNodes) kill(ctx context.Context) error {
	victim, err := d.ownerOf(ctx, d.sale.SKUs()[0])
	if err != nil {
		return err
	}
	if victim == nil {
		victim = d.fleet.staying()[0]
	}
	d.leaves(victim)
	at := d.sale.Answered()
	victim.Kill()
	d.killed++
	fmt.Fprintf(d.out, "%s was killed when %d shoppers had been served\n", victim.name, at)
	return nil
}

// drain has a node leave, as an operator would, and waits until it has.
func (d *demoNodes) drain(ctx context.Context) error {
	victim := d.fleet.staying()[0]
	d.leaves(victim)
	all, err := d.staff.Members(ctx)
	if err != nil {
		return err
	}
	id, err := memberNamed(all, victim.name)
	if err != nil {
		return err
	}
	at := d.sale.Answered()
	if err := d.staff.DrainMember(ctx, id); err != nil {
		return fmt.Errorf("drain %s: %w", victim.name, err)
	}
	ctx, cancel := context.WithTimeout(ctx, serverStopTimeout)
	defer cancel()
	select {
	case <-victim.Exited():
	case <-ctx.Done():
		return fmt.Errorf("%s was told to leave and has not: %w", victim.name, ctx.Err())
	}
	if err := victim.Stop(serverStopTimeout); err != nil {
		return err
	}
	d.drained++
	fmt.Fprintf(d.out, "%s was told to leave when %d shoppers had been served, and had left when %d had\n", victim.name, at, d.sale.Answered())
	return nil
}

// leaves notes that a node goes; the staff go on at one that stays.
func (d *demoNodes) leaves(n *fleetNode) {
	n.leaves = true
	d.staff.URL = d.fleet.staying()[0].URL
}

// ownerOf is the node that decides over a SKU; nil: one that leaves already.
func (d *demoNodes) ownerOf(ctx context.Context, sku string) (*fleetNode, error) {
	member, err := d.staff.OwnerOf(ctx, "sku", sku)
	if err != nil {
		return nil, fmt.Errorf("who has %s: %w", sku, err)
	}
	all, err := d.staff.Members(ctx)
	if err != nil {
		return nil, err
	}
	for _, n := range d.fleet.staying() {
		for _, m := range all {
			if m.ID == member && m.Name == n.name {
				return n, nil
			}
		}
	}
	return nil, nil //nolint:nilnil // nobody is an answer
}

func (d *demoNodes) count(h *proof.History) {
	h.Nodes, h.Crashes, h.Drained = d.demo.Nodes, d.killed, d.drained
}

// books: each node has a payment provider of its own, and an order's payment may
// have been under way at several.
func (d *demoNodes) books(context.Context) (*proof.Books, error) { return nil, nil }

func (d *demoNodes) stop() error {
	if d.fleet == nil {
		return nil
	}
	return d.fleet.stop()
}

func (d *demoNodes) lastWords() string {
	if d.fleet == nil {
		return ""
	}
	return d.fleet.lastWords()
}

func (d *demoNodes) kept() string {
	if d.backing == nil || len(d.backing.own) > 0 {
		return "The nodes' data goes with the database or the broker that was started for this run."
	}
	return "The nodes' data is kept in the database " + d.database() + "; their keys in " + d.directory
}

// discard removes what was this run's own.
func (d *demoNodes) discard() error {
	if d.backing == nil {
		return nil
	}
	defer d.backing.stop()
	if d.demo.MongoDatabase != "" || len(d.backing.own) == 2 {
		return nil
	}
	return dropDatabase(d.backing.mongo, d.database())
}

// demoHost is where the sale is held: one server, or several nodes.
type demoHost interface {
	start(ctx context.Context) error
	// config says how to sell there, what happens meanwhile included.
	config(ctx context.Context) (sale.Config, error)
	// watches is told of the sale before it begins.
	watches(one underWay)
	kafka() []string
	// books are those of the payment provider; nil where it cannot be asked.
	books(ctx context.Context) (*proof.Books, error)
	// count notes how many servers there were and what became of them.
	count(h *proof.History)
	stop() error
	lastWords() string
	// kept says where the data of a run that failed is.
	kept() string
	// discard removes the data that no run is to leave behind.
	discard() error
}

// underWay is a sale as those who do something to its servers see it.
type underWay interface {
	SKUs() []string
	Answered() int
}

// saleConfig is what all demos sell; where is left out.
func (c *demoCmd) saleConfig(run string, staff *shop.Client, sign func(string, ...auth.Role) (string, error)) sale.Config {
	return sale.Config{
		Staff: staff, Run: run, Units: c.Units, Shoppers: c.Shoppers, SKUs: c.SKUs, Concurrency: c.Concurrency,
		Token: func(i int) (string, error) { return sign(fmt.Sprintf("demo-shopper-%d", i), auth.Customer) },
	}
}

// database is the MongoDB database of a run.
func (c *demoCmd) database(run string) string {
	if c.MongoDatabase != "" {
		return c.MongoDatabase
	}
	return "stampede_demo_" + run
}
