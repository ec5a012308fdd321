package main

// The flags that make a node one of many.

import (
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"stampede/cluster/members"
)

// clusterFlags say how a node is one of many.
type clusterFlags struct {
	ClusterListen    string   `placeholder:"HOST:PORT" group:"Cluster" help:"Be one of many nodes on the same MongoDB, which reach this one here. Port 0 picks a free one. Without it the node is a cluster of one."`
	ClusterAdvertise string   `placeholder:"HOST:PORT" group:"Cluster" help:"How the other nodes reach this one, if not by the address it listens on. {hostname} stands for the host's name."`
	Roles            []string `sep:"," placeholder:"ROLE" group:"Cluster" help:"What this node does of gateway, actors and publisher; all if not given. A node without gateway serves no public HTTP, one without actors hosts none."`
	ClusterTLSCert   string   `name:"cluster-tls-cert" placeholder:"FILE" group:"Cluster" help:"This node's certificate, by which the others know it; read again when it changes."`
	ClusterTLSKey    string   `name:"cluster-tls-key" placeholder:"FILE" group:"Cluster" help:"Its key."`
	ClusterTLSCA     string   `name:"cluster-tls-ca" placeholder:"FILE" group:"Cluster" help:"The cluster's authority: whoever has a certificate of it is a node, and nobody else."`
	// ClusterTLSServerName: containers have addresses that nobody knows beforehand.
	ClusterTLSServerName string `name:"cluster-tls-server-name" placeholder:"NAME" group:"Cluster" help:"A name that every node's certificate carries, instead of each its own host: for nodes whose addresses nobody knows beforehand."`
	ClusterInsecure      bool   `group:"Cluster" help:"Listen without TLS on more than loopback: only where the network keeps everyone else out."`
	// DrainFor: load balancers look at /readyz every so often.
	DrainFor time.Duration `default:"2s" placeholder:"TIME" group:"Cluster" help:"How long a node of many goes on serving when it is told to end, so that load balancers notice that it is not ready any more."`
	// TestClockOffset is for tests of what clocks that differ do; see now.
	TestClockOffset time.Duration `hidden:""`
}

const maxDrainFor = 10 * time.Second

// clustered reports whether the node is one of many.
func (f *clusterFlags) clustered() bool { return f.ClusterListen != "" }

// now is the wall clock of everything that the node decides by. Only tests set
// it wrong. Leases, timeouts and pauses go by the monotonic clock and never ask it.
func (f *clusterFlags) now() time.Time { return time.Now().Add(f.TestClockOffset) }

// roles are those in force.
func (f *clusterFlags) roles() []members.Role {
	all := []members.Role{members.Gateway, members.Actors, members.Publisher}
	if len(f.Roles) == 0 {
		return all
	}
	var given []members.Role
	for _, role := range all {
		if slices.Contains(f.Roles, string(role)) {
			given = append(given, role)
		}
	}
	return given
}

// hostnameMark stands for the host's name in --cluster-advertise: of containers
// that are started by the number, nobody knows it beforehand.
const hostnameMark = "{hostname}"

// advertise is how the other nodes are told to reach this one.
func (f *clusterFlags) advertise() (string, error) {
	if !strings.Contains(f.ClusterAdvertise, hostnameMark) {
		return f.ClusterAdvertise, nil
	}
	host, err := os.Hostname()
	if err != nil {
		return "", fmt.Errorf("--cluster-advertise: the host has no name: %w", err)
	}
	return strings.ReplaceAll(f.ClusterAdvertise, hostnameMark, host), nil
}

// is reports whether the node has a role.
func (f *clusterFlags) is(role members.Role) bool { return slices.Contains(f.roles(), role) }

func (f *clusterFlags) validate(wrong *faults, node *nodeFlags) {
	for _, role := range f.Roles {
		checkOneOf(wrong, "roles", role, string(members.Gateway), string(members.Actors), string(members.Publisher))
	}
	if f.DrainFor < 0 || f.DrainFor > maxDrainFor {
		wrong.add("drain-for", "is %s; 0s to %s is right", f.DrainFor, maxDrainFor)
	}
	if !f.clustered() {
		f.validateAlone(wrong)
		return
	}
	checkAddress(wrong, "cluster-listen", f.ClusterListen, true)
	if f.ClusterAdvertise != "" {
		checkAddress(wrong, "cluster-advertise", f.ClusterAdvertise, true)
	} else if host, _, err := net.SplitHostPort(f.ClusterListen); err == nil && unspecified(host) {
		wrong.add("cluster-advertise", "must say how the other nodes reach this one: --cluster-listen %s does not", f.ClusterListen)
	}
	if node.Mongo == "" {
		wrong.add("cluster-listen", "needs --mongo: the nodes of a cluster share one journal")
	}
	if len(node.Kafka) == 0 {
		wrong.add("cluster-listen", "needs --kafka: the nodes of a cluster share one broker, and the embedded one is this node's alone")
	}
	if node.SigningKeys == "" && f.is(members.Gateway) {
		wrong.add("cluster-listen", "needs --signing-keys: a token that one node signs is checked by all of them")
	}
	f.validateTLS(wrong)
}

// validateAlone refuses what has no meaning in a cluster of one.
func (f *clusterFlags) validateAlone(wrong *faults) {
	const needs = "is for a node of many; give --cluster-listen, or leave it out"
	for _, one := range []struct {
		flag  string
		given bool
	}{
		{"cluster-advertise", f.ClusterAdvertise != ""},
		{"roles", len(f.Roles) > 0 && len(f.roles()) < 3},
		{"cluster-tls-cert", f.ClusterTLSCert != ""},
		{"cluster-tls-key", f.ClusterTLSKey != ""},
		{"cluster-tls-ca", f.ClusterTLSCA != ""},
		{"cluster-tls-server-name", f.ClusterTLSServerName != ""},
		{"cluster-insecure", f.ClusterInsecure},
	} {
		if one.given {
			wrong.add(one.flag, needs)
		}
	}
}

func (f *clusterFlags) validateTLS(wrong *faults) {
	given := 0
	for _, file := range []string{f.ClusterTLSCert, f.ClusterTLSKey, f.ClusterTLSCA} {
		if file != "" {
			given++
		}
	}
	if given == 0 && f.ClusterTLSServerName != "" {
		wrong.add("cluster-tls-server-name", "is the name in certificates; give --cluster-tls-cert, --cluster-tls-key and --cluster-tls-ca, or leave it out")
	}
	host, _, err := net.SplitHostPort(f.ClusterListen)
	switch {
	case given != 0 && given != 3:
		wrong.add("cluster-tls-cert", "--cluster-tls-cert, --cluster-tls-key and --cluster-tls-ca belong together; give all three")
	case given == 0 && !f.ClusterInsecure && err == nil && !loopback(host):
		wrong.add("cluster-listen", "%s is more than loopback, where nodes must know each other: give --cluster-tls-cert, --cluster-tls-key and --cluster-tls-ca, or --cluster-insecure if the network keeps everyone else out", f.ClusterListen)
	}
}

func unspecified(host string) bool {
	ip := net.ParseIP(host)
	return host == "" || ip != nil && ip.IsUnspecified()
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}
