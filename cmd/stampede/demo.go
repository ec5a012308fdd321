package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"stampede/cmd/stampede/internal/child"
	"stampede/cmd/stampede/internal/load"
	"stampede/cmd/stampede/internal/proof"
	"stampede/cmd/stampede/internal/sale"
	"stampede/cmd/stampede/internal/shop"
	"stampede/gateway/auth"
)

// demoCmd runs a flash sale against a server of its own and proves what came
// of it.
type demoCmd struct {
	Units       int  `default:"500" placeholder:"N" group:"The sale" help:"Units that are sold, spread evenly over the SKUs."`
	Shoppers    int  `default:"5000" placeholder:"N" group:"The sale" help:"Shoppers, each of whom wants one unit; with --pay and several SKUs some want more, and several."`
	Concurrency int  `default:"128" placeholder:"N" group:"The sale" help:"Shoppers who are in the shop at the same time, each on a connection of its own."`
	SKUs        int  `name:"skus" default:"1" placeholder:"N" group:"The sale" help:"SKUs that the units are of."`
	Crash       bool `group:"The sale" help:"Kill the server with SIGKILL half way through the sale, start it again and go on."`
	JSON        bool `name:"json" group:"The sale" help:"Print the result as one JSON object on the last line."`

	Mongo            secretURI `placeholder:"URI" group:"The server" help:"Keep the journal in this MongoDB instead of an embedded store."`
	MongoDatabase    string    `placeholder:"NAME" group:"The server" help:"The MongoDB database; one of its own for each run if not given."`
	Kafka            []string  `placeholder:"HOST:PORT" sep:"," group:"The server" help:"Publish to this Kafka instead of an embedded broker."`
	KafkaReplication int       `default:"1" placeholder:"N" group:"The server" help:"Replicas of the topics, where they are made."`
	EventsFormat     string    `default:"json" placeholder:"FORMAT" group:"The server" help:"How events are encoded: json or protobuf."`
	nodesFlags       `embed:""`
	tradeFlags       `embed:""`
}

// Bounds of a demo.
const (
	maxDemoUnits    = 250_000 // of a SKU: what it can have allocated
	maxDemoShoppers = 1_000_000
	maxDemoSKUs     = 1_000
	maxConcurrency  = 4_096

	serverStartTimeout = 60 * time.Second
	serverStopTimeout  = 30 * time.Second
)

// Validate lists everything that is wrong with the configuration.
func (c *demoCmd) Validate() faults {
	var wrong faults
	checkCount(&wrong, "units", c.Units, maxDemoUnits)
	checkCount(&wrong, "shoppers", c.Shoppers, maxDemoShoppers)
	checkCount(&wrong, "concurrency", c.Concurrency, maxConcurrency)
	checkCount(&wrong, "skus", c.SKUs, maxDemoSKUs)
	if c.Units >= 1 && c.SKUs > c.Units && c.SKUs <= maxDemoSKUs {
		wrong.add("skus", "is %d, but there are only %d units to spread over them", c.SKUs, c.Units)
	}
	store := storeFlags{DataDir: ".", Mongo: c.Mongo, MongoDatabase: c.MongoDatabase}
	if store.MongoDatabase == "" {
		store.MongoDatabase = "default"
	}
	store.validate(&wrong)
	broker := brokerFlags{Kafka: c.Kafka, KafkaListen: "127.0.0.1:0", KafkaReplication: c.KafkaReplication, EventsFormat: c.EventsFormat}
	broker.validate(&wrong)
	c.nodesFlags.validate(&wrong, c.Crash)
	c.tradeFlags.validate(&wrong, c.SKUs)
	return wrong
}

var errProof = errors.New("the proof does not hold")

// Run runs the sale and the proof, and cleans up after itself.
func (c *demoCmd) Run(ctx context.Context, std streams) error {
	run := randomHex(4)
	directory, err := os.MkdirTemp("", "stampede-demo-")
	if err != nil {
		return err
	}
	if c.JSON {
		std.out, std.json = std.err, std.out // what people read goes beside
	}
	var s demoHost = &demoServer{demo: c, run: run, directory: directory, password: randomHex(12), out: std.out}
	if c.Nodes > 1 {
		s = &demoNodes{demo: c, run: run, directory: directory, out: std.out}
	}
	verdict, speed, err := c.sell(ctx, s, std)
	if err == nil {
		err = report(std, verdict, speed)
	}
	stopErr := s.stop()
	if ctx.Err() != nil {
		return errors.Join(errInterrupted, s.discard(), os.RemoveAll(directory))
	}
	if err = errors.Join(err, stopErr); err != nil {
		fmt.Fprintf(std.err, "\n%s\n%s", s.kept(), s.lastWords())
		return err
	}
	return errors.Join(s.discard(), os.RemoveAll(directory))
}

// errInterrupted: a sale without a proof proves nothing, so it is a failure.
var errInterrupted = errors.New("interrupted before the proof")

// sell runs the sale and looks at what came of it.
func (c *demoCmd) sell(ctx context.Context, s demoHost, std streams) (verdict, proof.Speed, error) {
	var none proof.Speed
	if err := s.start(ctx); err != nil {
		return nil, none, err
	}
	config, err := s.config(ctx)
	if err != nil {
		return nil, none, err
	}
	if c.trades() {
		return c.trade(ctx, s, config, std)
	}
	one := sale.New(config)
	s.watches(one)
	if err := one.Prepare(ctx); err != nil {
		return nil, none, err
	}
	fmt.Fprintf(std.out, "%d shoppers want %d units of %d SKU(s), %d at a time. Their tokens are signed with the server's own key:\nregistering them would measure password hashing.\n\n",
		c.Shoppers, c.Units, c.SKUs, c.Concurrency)
	ran, err := c.watch(ctx, one, std)
	if err != nil {
		return nil, none, err
	}
	fmt.Fprintf(std.out, "\nThe sale took %s. Now every order is read back, keys are repeated, and a consumer group reads the events.\n", ran.Elapsed.Round(time.Millisecond))
	if err := one.Audit(ctx); err != nil {
		return nil, none, err
	}
	if err := one.ReadEvents(ctx, s.kafka()); err != nil {
		return nil, none, err
	}
	history := one.History()
	s.count(history)
	return proof.Prove(history), speedOf(ran), nil
}

func speedOf(r *load.Report) proof.Speed {
	return proof.Speed{OrdersPerSecond: r.PerSecond(), P50Ms: r.Millis(50), P99Ms: r.Millis(99), P999Ms: r.Millis(99.9), LongestGapMs: float64(r.LongestGap.Microseconds()) / 1000}
}

// watch runs the sale and shows how far it is.
func (c *demoCmd) watch(ctx context.Context, one runnable, std streams) (*load.Report, error) {
	shown := newProgress(std.err, "shoppers served", "orders", c.Shoppers)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var watching sync.WaitGroup
	watching.Go(func() { shown.follow(ctx, one.Answered) })
	ran, err := one.Run(ctx)
	cancel()
	watching.Wait()
	shown.finish(one.Answered())
	return ran, err
}

// report prints the verdict; one that does not hold is an error.
func report(std streams, v verdict, s proof.Speed) error {
	fmt.Fprintln(std.out)
	if err := v.WriteTable(std.out, s); err != nil {
		return err
	}
	if std.json != nil {
		if err := v.WriteJSON(std.json, s); err != nil {
			return err
		}
	}
	if !v.Holds() {
		return errProof
	}
	return nil
}

// demoServer is the demo's own server: a process of this same program. The
// goroutine of the sale kills and restarts it, others ask where it is.
type demoServer struct {
	demo      *demoCmd
	run       string
	directory string
	password  string
	out       io.Writer

	mu      sync.Mutex
	child   *child.Server
	ports   [3]string // public, admin, Kafka: the same after a restart
	crashes int
}

const demoAdmin = "admin@stampede.test"

// start starts the server for the first time.
func (s *demoServer) start(ctx context.Context) error {
	if err := s.startAgain(ctx); err != nil {
		return err
	}
	fmt.Fprintf(s.out, "A server of its own (pid %d) is at %s\n", s.pid(), s.url())
	return nil
}

// startAgain starts the server where it was before, or on free ports.
func (s *demoServer) startAgain(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ports[0] == "" {
		ports, err := quietPorts(ctx, len(s.ports))
		if err != nil {
			return err
		}
		copy(s.ports[:], ports)
	}
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, serverStartTimeout)
	defer cancel()
	started, err := child.Start(ctx, child.Command{Path: program, Args: s.args(), Env: childEnv(s.password, s.demo.Mongo)})
	if err != nil {
		return err
	}
	s.child = started
	return nil
}

func (s *demoServer) args() []string {
	return []string{
		"serve", "--stop-with-parent", "--data-dir=" + filepath.Join(s.directory, "data"), "--signing-keys=" + s.keys(),
		"--listen=127.0.0.1:" + s.ports[0], "--admin-listen=127.0.0.1:" + s.ports[1], "--kafka-listen=127.0.0.1:" + s.ports[2],
		"--bootstrap-admin=" + demoAdmin, "--node-name=demo", "--log-level=warn", "--log-format=text", "--payments=simulator",
		fmt.Sprintf("--hold-minutes=%v", s.demo.holdFor().Minutes()), fmt.Sprintf("--kafka-replication=%d", s.demo.KafkaReplication),
		"--kafka=" + strings.Join(s.demo.Kafka, ","), "--mongo-database=" + s.database(), "--events-format=" + s.demo.EventsFormat,
	}
}

func (s *demoServer) keys() string { return filepath.Join(s.directory, "keys") }

func (s *demoServer) database() string { return s.demo.database(s.run) }

// config logs in as the operator and says how to sell at this server.
func (s *demoServer) config(ctx context.Context) (sale.Config, error) {
	var none sale.Config
	staff := shop.NewClient(s.url(), "")
	token, err := staff.LogIn(ctx, demoAdmin, s.password)
	if err != nil {
		return none, err
	}
	staff.Token = token
	sign, err := signer(s.keys())
	if err != nil {
		return none, err
	}
	config := s.demo.saleConfig(s.run, staff, sign)
	config.URL = s.url()
	if s.demo.Crash {
		config.Steps = []func() error{func() error { return s.crash(ctx) }}
	}
	return config, nil
}

func (s *demoServer) watches(underWay) {}

// crash kills the server in mid-sale and starts it again.
func (s *demoServer) crash(ctx context.Context) error {
	s.mu.Lock()
	s.child.Kill()
	s.crashes++
	s.mu.Unlock()
	if err := s.startAgain(ctx); err != nil {
		return fmt.Errorf("start the killed server again: %w", err)
	}
	return nil
}

func (s *demoServer) stop() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.child == nil {
		return nil
	}
	return s.child.Stop(serverStopTimeout)
}

// lastWords is what the server had to say for itself.
func (s *demoServer) lastWords() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.child == nil || s.child.Stderr() == "" {
		return ""
	}
	return "The server's last words:\n" + s.child.Stderr()
}

func (s *demoServer) kept() string { return "The server's data is kept in " + s.directory }

// discard removes the MongoDB database that was this run's own.
func (s *demoServer) discard() error {
	if s.demo.Mongo == "" || s.demo.MongoDatabase != "" {
		return nil
	}
	return dropDatabase(s.demo.Mongo, s.database())
}

func dropDatabase(uri secretURI, name string) error {
	ctx, cancel := context.WithTimeout(context.Background(), serverStopTimeout)
	defer cancel()
	client, err := mongo.Connect(options.Client().ApplyURI(string(uri)))
	if err != nil {
		return fmt.Errorf("drop the demo's database: %w", err)
	}
	return errors.Join(client.Database(name).Drop(ctx), client.Disconnect(ctx))
}

func (s *demoServer) url() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.child.URL
}

func (s *demoServer) kafka() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Split(s.child.Kafka, ",")
}

func (s *demoServer) pid() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.child.PID()
}

func (s *demoServer) count(h *proof.History) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h.Nodes, h.Crashes = 1, s.crashes
}

// signer signs access tokens with the keys in a directory, as the server does.
func signer(directory string) (func(user string, roles ...auth.Role) (string, error), error) {
	keys, err := auth.LoadKeys(directory)
	if err != nil {
		return nil, err
	}
	tokens := auth.NewTokens(keys, auth.TokenOptions{})
	return func(user string, roles ...auth.Role) (string, error) {
		token, _, err := tokens.Issue(user, roles, time.Now())
		return token, err
	}, nil
}

func randomHex(bytes int) string {
	b := make([]byte, bytes)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}
