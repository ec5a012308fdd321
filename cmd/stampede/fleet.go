package main

// A cluster of processes of this same program on this machine, for the demo and
// for make cluster: each node a process, as in production, with mutual TLS
// between them.

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"stampede/cmd/stampede/internal/child"
	"stampede/cmd/stampede/internal/secrets"
	"stampede/internal/servers"
)

// fleetServerName is what the certificate of all nodes names.
const fleetServerName = "stampede-node"

// maxFleet bounds the nodes: they share one machine.
const maxFleet = 16

// fleetConfig says what the nodes are.
type fleetConfig struct {
	nodes int
	// directory is where the nodes' secrets are made.
	directory string
	mongo     secretURI
	database  string
	kafka     []string
	admin     string
	// more are flags that all nodes get besides.
	more []string
}

// fleet is a cluster of node processes. What it started ends with it, and with
// this process, however it ends.
type fleet struct {
	config  fleetConfig
	secrets *secrets.Set
	nodes   []*fleetNode
}

// fleetNode is one of them.
type fleetNode struct {
	name string
	*child.Server
	// leaves: it was killed, or told to leave. Belongs to who does that.
	leaves bool
}

// startFleet starts all nodes at the same time, as an orchestrator would.
func startFleet(ctx context.Context, config fleetConfig) (*fleet, error) {
	set, err := secrets.Ensure(filepath.Join(config.directory, "secrets"), fleetServerName, time.Now())
	if err != nil {
		return nil, err
	}
	password, err := set.ReadPassword()
	if err != nil {
		return nil, err
	}
	ports, err := quietPorts(ctx, 3*config.nodes)
	if err != nil {
		return nil, err
	}
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	f := &fleet{config: config, secrets: set, nodes: make([]*fleetNode, config.nodes)}
	starting, all := errgroup.WithContext(ctx)
	for i := range f.nodes {
		starting.Go(func() error {
			name := fmt.Sprintf("node-%d", i+1)
			ctx, cancel := context.WithTimeout(all, serverStartTimeout)
			defer cancel()
			started, err := child.Start(ctx, child.Command{Path: program, Args: f.args(name, ports[3*i:3*i+3]), Env: childEnv(password, config.mongo)})
			if err != nil {
				return fmt.Errorf("start %s: %w", name, err)
			}
			f.nodes[i] = &fleetNode{name: name, Server: started}
			return nil
		})
	}
	if err := starting.Wait(); err != nil {
		return nil, errors.Join(err, f.stop())
	}
	return f, nil
}

func (f *fleet) args(name string, ports []string) []string {
	args := []string{
		"serve", "--stop-with-parent", "--node-name=" + name, "--log-level=warn", "--log-format=text",
		"--listen=127.0.0.1:" + ports[0], "--admin-listen=127.0.0.1:" + ports[1], "--cluster-listen=127.0.0.1:" + ports[2],
		"--cluster-tls-cert=" + f.secrets.Cert, "--cluster-tls-key=" + f.secrets.Key, "--cluster-tls-ca=" + f.secrets.CA, "--cluster-tls-server-name=" + fleetServerName,
		"--signing-keys=" + f.secrets.SigningKeys, "--bootstrap-admin=" + f.config.admin, "--data-dir=" + filepath.Join(f.config.directory, name),
		"--mongo-database=" + f.config.database, "--kafka=" + strings.Join(f.config.kafka, ","),
	}
	return append(args, f.config.more...)
}

// childEnv is this process's environment without what configures Stampede, which
// is said by flags, and with what is not for the eyes of others on this machine.
func childEnv(password string, mongo secretURI) []string {
	var env []string
	for _, one := range os.Environ() {
		if !strings.HasPrefix(one, envPrefix+"_") {
			env = append(env, one)
		}
	}
	env = append(env, adminPasswordEnv+"="+password)
	if mongo != "" {
		env = append(env, envPrefix+"_MONGO="+string(mongo))
	}
	return env
}

// stop drains all nodes at the same time.
func (f *fleet) stop() error {
	errs := make([]error, len(f.nodes))
	var stopping sync.WaitGroup
	for i, n := range f.nodes {
		if n == nil {
			continue
		}
		stopping.Go(func() {
			if err := n.Stop(serverStopTimeout); err != nil && !n.leaves {
				errs[i] = fmt.Errorf("%s: %w", n.name, err)
			}
		})
	}
	stopping.Wait()
	return errors.Join(errs...)
}

// staying are the nodes that nobody has killed or told to leave.
func (f *fleet) staying() []*fleetNode {
	var staying []*fleetNode
	for _, n := range f.nodes {
		if !n.leaves {
			staying = append(staying, n)
		}
	}
	return staying
}

// lastWords is what the nodes had to say for themselves.
func (f *fleet) lastWords() string {
	var all strings.Builder
	for _, n := range f.nodes {
		if said := n.Stderr(); said != "" {
			fmt.Fprintf(&all, "The last words of %s:\n%s", n.name, said)
		}
	}
	return all.String()
}

// backing are a database and a broker: given ones, or those that make servers
// has fetched, started here.
type backing struct {
	mongo secretURI
	kafka []string
	own   []*servers.Process
}

// startBacking starts what is not given.
func startBacking(mongo secretURI, kafka []string) (*backing, error) {
	b := &backing{mongo: mongo, kafka: kafka}
	if b.mongo == "" {
		b.mongo = secretURI(servers.Setting("STAMPEDE_TEST_MONGO"))
	}
	if address := servers.Setting("STAMPEDE_TEST_KAFKA"); len(b.kafka) == 0 && address != "" {
		b.kafka = []string{address}
	}
	var starting errgroup.Group
	var ownMongo *servers.Mongo
	var ownKafka *servers.Kafka
	if b.mongo == "" {
		starting.Go(func() (err error) {
			ownMongo, err = servers.StartMongo(servers.MongoConfig{})
			return explainAbsent(err, "a MongoDB", "mongo")
		})
	}
	if len(b.kafka) == 0 {
		starting.Go(func() (err error) {
			ownKafka, err = servers.StartKafka()
			return explainAbsent(err, "a Kafka", "kafka")
		})
	}
	err := starting.Wait()
	if ownMongo != nil && ownMongo.Process != nil {
		b.mongo, b.own = secretURI(ownMongo.URI), append(b.own, ownMongo.Process)
	}
	if ownKafka != nil && ownKafka.Process != nil {
		b.kafka, b.own = []string{ownKafka.Address}, append(b.own, ownKafka.Process)
	}
	if err != nil {
		b.stop()
		return nil, err
	}
	return b, nil
}

func explainAbsent(err error, what, flag string) error {
	if errors.Is(err, servers.ErrAbsent) {
		return fmt.Errorf("several nodes share %s: give --%s, or run this where \"make servers\" has put one (%w)", what, flag, err)
	}
	return err
}

// stop ends what was started here, and removes its data.
func (b *backing) stop() {
	for _, p := range b.own {
		p.Discard()
	}
}
