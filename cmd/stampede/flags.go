package main

// The flags that a node has, in groups that serve, dev, demo and config check
// share, with the check of each. The structs are the configuration: nothing
// reads a flag or the environment anywhere else.

import (
	"fmt"
	"net"
	"net/mail"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Bounds of what can be configured.
const (
	minHoldMinutes     = 0.01
	maxHoldMinutes     = 7 * 24 * 60
	maxReplication     = 100
	maxEmailBytes      = 254
	minPasswordBytes   = 8
	maxPasswordBytes   = 72
	maxDatabaseName    = 63
	mongoNameForbidden = "/\\. \"$*<>:|?\x00"
)

// adminPasswordEnv holds the password of --bootstrap-admin, if no file does. It
// is not a flag: command lines can be read by everyone on the machine.
const adminPasswordEnv = envPrefix + "_BOOTSTRAP_ADMIN_PASSWORD"

// secretURI is an address that may carry a password. It prints without.
type secretURI string

// String is the address with the password replaced.
func (u secretURI) String() string {
	scheme, rest, found := strings.Cut(string(u), "://")
	at := strings.LastIndex(rest, "@")
	if !found || at < 0 {
		return string(u)
	}
	user, _, hasPassword := strings.Cut(rest[:at], ":")
	if !hasPassword {
		return string(u)
	}
	return scheme + "://" + user + ":***@" + rest[at+1:]
}

// nodeFlags are the flags of a node.
type nodeFlags struct {
	Listen           string `default:"127.0.0.1:8080" placeholder:"HOST:PORT" group:"Addresses" help:"Public HTTP: the GraphQL API and its keys. Port 0 picks a free one."`
	AdminListen      string `default:"127.0.0.1:8081" placeholder:"HOST:PORT" group:"Addresses" help:"Health, metrics and profiles. Never make it public. Port 0 picks a free one."`
	storeFlags       `embed:""`
	brokerFlags      `embed:""`
	NodeName         string   `placeholder:"NAME" group:"Node" help:"What the node is called in the journal, logs and metrics; the host's name if not given."`
	SigningKeys      string   `placeholder:"DIR" group:"Access" help:"Ed25519 PEM files that sign access tokens; the file's name is the key's id, the newest signs. Made in the data directory if not given."`
	BootAdmin        string   `name:"bootstrap-admin" placeholder:"EMAIL" group:"Access" help:"An operator made at start if there is none, with the password in STAMPEDE_BOOTSTRAP_ADMIN_PASSWORD."`
	BootPasswordFile string   `name:"bootstrap-admin-password-file" placeholder:"FILE" group:"Access" help:"The file that has the password of --bootstrap-admin, if it is not in STAMPEDE_BOOTSTRAP_ADMIN_PASSWORD."`
	Origins          []string `name:"allowed-origins" placeholder:"ORIGIN" sep:"," group:"Access" help:"Web origins whose pages may call the API, such as https://shop.example; * for any."`
	Proxies          []string `name:"trusted-proxies" placeholder:"CIDR" sep:"," group:"Access" help:"Load balancers that may say in X-Forwarded-For whom they speak for, such as 10.0.0.0/8; limits then count callers, not balancers."`
	Payments         string   `default:"simulator" placeholder:"NAME" group:"Shop" help:"The payment provider: simulator or stripe."`
	stripeFlags      `embed:""`
	HoldMinutes      float64 `default:"10" placeholder:"N" group:"Shop" help:"How long an order holds its units before it must be paid; 0.5 is half a minute."`
	clusterFlags     `embed:""`
	logFlags         `embed:""`
	bootPassword     secret
	bootFaults       faults
}

// storeFlags say where the journal is.
type storeFlags struct {
	DataDir       string    `default:"./stampede-data" placeholder:"DIR" group:"Store" help:"The embedded store and broker, and the signing keys. One process at a time."`
	Mongo         secretURI `placeholder:"URI" group:"Store" help:"Keep the journal in MongoDB instead of the data directory: mongodb://host:port/?replicaSet=rs0."`
	MongoDatabase string    `default:"stampede" placeholder:"NAME" group:"Store" help:"The MongoDB database."`
}

// brokerFlags say where events go.
type brokerFlags struct {
	Kafka            []string `placeholder:"HOST:PORT" sep:"," group:"Events" help:"Publish to this Kafka instead of the embedded broker; several brokers with commas."`
	KafkaListen      string   `default:"127.0.0.1:9092" placeholder:"HOST:PORT" group:"Events" help:"Where the embedded broker listens. Port 0 picks a free one."`
	KafkaReplication int      `default:"1" placeholder:"N" group:"Events" help:"Replicas of the topics that are made at start; 3 for a Kafka in production."`
	KafkaCommands    bool     `group:"Events" help:"Take stock adjustments from the topic stampede.commands.v1. Whoever may write to it may change stock: set the broker's ACLs."`
	EventsFormat     string   `default:"json" placeholder:"FORMAT" group:"Events" help:"How events are encoded: json or protobuf."`
}

type logFlags struct {
	LogLevel  string `default:"info" placeholder:"LEVEL" group:"Logs" help:"debug, info, warn or error. Logs go to standard error."`
	LogFormat string `default:"text" placeholder:"FORMAT" group:"Logs" help:"text or json."`
}

// secret never prints.
type secret string

// String hides it.
func (s secret) String() string {
	if s == "" {
		return ""
	}
	return "***"
}

// readSecrets fills in what only files and the environment may hold.
func (f *nodeFlags) readSecrets() {
	f.bootFaults = nil
	f.bootPassword = secretOf(&f.bootFaults, "bootstrap-admin-password-file", f.BootPasswordFile, adminPasswordEnv)
	f.stripeFlags.readSecrets()
}

func (f *nodeFlags) holdFor() time.Duration {
	return time.Duration(f.HoldMinutes * float64(time.Minute)).Round(time.Millisecond)
}

// nodeName is the name in force.
func (f *nodeFlags) nodeName() (string, error) {
	if f.NodeName != "" {
		return f.NodeName, nil
	}
	host, err := os.Hostname()
	if err != nil {
		return "", fmt.Errorf("the host has no name; give --node-name: %w", err)
	}
	return host, nil
}

func (f *nodeFlags) validate() faults {
	var wrong faults
	checkAddress(&wrong, "listen", f.Listen, true)
	checkAddress(&wrong, "admin-listen", f.AdminListen, true)
	if f.Listen == f.AdminListen && !strings.HasSuffix(f.Listen, ":0") {
		wrong.add("admin-listen", "is the same as --listen (%s); the two must differ", f.Listen)
	}
	f.storeFlags.validate(&wrong)
	f.brokerFlags.validate(&wrong)
	if f.NodeName != "" && !nodeNamePattern.MatchString(f.NodeName) {
		wrong.add("node-name", "%q is not 1 to 63 letters, digits, dots, dashes or underscores, starting with a letter or digit", f.NodeName)
	}
	checkDirectory(&wrong, "signing-keys", f.SigningKeys)
	f.validateAdmin(&wrong)
	for _, origin := range f.Origins {
		checkOrigin(&wrong, origin)
	}
	if _, err := parseProxies(f.Proxies); err != nil {
		wrong.add("trusted-proxies", "%v", err)
	}
	checkOneOf(&wrong, "payments", f.Payments, "simulator", "stripe")
	f.stripeFlags.validate(&wrong, f.Payments == "stripe")
	if !(f.HoldMinutes >= minHoldMinutes && f.HoldMinutes <= maxHoldMinutes) { // so that NaN is wrong, too
		wrong.add("hold-minutes", "is %v; %v to %v is right", f.HoldMinutes, minHoldMinutes, maxHoldMinutes)
	}
	f.clusterFlags.validate(&wrong, f)
	f.logFlags.validate(&wrong)
	return wrong
}

func (f *nodeFlags) validateAdmin(wrong *faults) {
	*wrong = append(*wrong, f.bootFaults...)
	if len(f.bootFaults) > 0 {
		return
	}
	if f.BootAdmin == "" {
		if f.BootPasswordFile != "" {
			wrong.add("bootstrap-admin", "--bootstrap-admin-password-file is given, but not whose password it is; give the e-mail address")
			return
		}
		if f.bootPassword != "" {
			wrong.add("bootstrap-admin", "%s is set, but not whose password it is; give the e-mail address", adminPasswordEnv)
		}
		return
	}
	parsed, err := mail.ParseAddress(f.BootAdmin)
	if err != nil || parsed.Address != f.BootAdmin || len(f.BootAdmin) > maxEmailBytes {
		wrong.add("bootstrap-admin", "%q is not an e-mail address of up to %d bytes", f.BootAdmin, maxEmailBytes)
	}
	switch n := len(f.bootPassword); {
	case n == 0:
		wrong.add("bootstrap-admin", "needs the password in %s", f.passwordPlace())
	case n < minPasswordBytes || n > maxPasswordBytes:
		wrong.add("bootstrap-admin", "the password in %s has %d bytes; %d to %d are right", f.passwordPlace(), n, minPasswordBytes, maxPasswordBytes)
	}
}

// passwordPlace is where the password is looked for.
func (f *nodeFlags) passwordPlace() string {
	if f.BootPasswordFile != "" {
		return f.BootPasswordFile
	}
	return adminPasswordEnv
}

func (f *storeFlags) validate(wrong *faults) {
	if f.DataDir == "" {
		wrong.add("data-dir", "is empty; give a directory")
	}
	checkDirectory(wrong, "data-dir", f.DataDir)
	if f.Mongo != "" {
		scheme, rest, _ := strings.Cut(string(f.Mongo), "://")
		host := rest[strings.LastIndex(rest, "@")+1:]
		if i := strings.IndexAny(host, "/?"); i >= 0 {
			host = host[:i]
		}
		if (scheme != "mongodb" && scheme != "mongodb+srv") || host == "" {
			wrong.add("mongo", "%q is not a MongoDB address; mongodb://host:port/?replicaSet=rs0 is one", f.Mongo.String())
		}
	}
	if n := len(f.MongoDatabase); n == 0 || n > maxDatabaseName || strings.ContainsAny(f.MongoDatabase, mongoNameForbidden) {
		wrong.add("mongo-database", "%q is not a database's name: 1 to %d bytes, no spaces and none of / \\ . \" $ * < > : | ?", f.MongoDatabase, maxDatabaseName)
	}
}

func (f *brokerFlags) validate(wrong *faults) {
	for _, broker := range f.Kafka {
		checkAddress(wrong, "kafka", broker, false)
	}
	checkAddress(wrong, "kafka-listen", f.KafkaListen, true)
	checkCount(wrong, "kafka-replication", f.KafkaReplication, maxReplication)
	if len(f.Kafka) == 0 && f.KafkaReplication > 1 && f.KafkaReplication <= maxReplication {
		wrong.add("kafka-replication", "is %d, but the embedded broker is one broker; give --kafka or 1", f.KafkaReplication)
	}
	checkOneOf(wrong, "events-format", f.EventsFormat, "json", "protobuf")
}

func (f *logFlags) validate(wrong *faults) {
	checkOneOf(wrong, "log-level", f.LogLevel, "debug", "info", "warn", "error")
	checkOneOf(wrong, "log-format", f.LogFormat, "text", "json")
}

var nodeNamePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

// checkAddress wants host:port; port 0 only where one is listened on.
func checkAddress(wrong *faults, flag, address string, listen bool) {
	lowest := 1
	if listen {
		lowest = 0
	}
	host, portText, err := net.SplitHostPort(address)
	port, portErr := strconv.Atoi(portText)
	if err != nil || portErr != nil || port < lowest || port > 65535 || (host == "" && !listen) || strings.ContainsAny(host, " /@") {
		wrong.add(flag, "%q is not host:port with a port from %d to 65535", address, lowest)
	}
}

func checkDirectory(wrong *faults, flag, path string) {
	if path == "" {
		return
	}
	if info, err := os.Stat(path); err == nil && !info.IsDir() {
		wrong.add(flag, "%q is a file; give a directory", path)
	}
}

func checkOrigin(wrong *faults, origin string) {
	if origin == "*" {
		return
	}
	u, err := url.Parse(origin)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.Scheme+"://"+u.Host != origin {
		wrong.add("allowed-origins", "%q is not an origin such as https://shop.example, without a path", origin)
	}
}

// parseProxies reads networks; a single address is a network of one.
func parseProxies(texts []string) ([]netip.Prefix, error) {
	networks := make([]netip.Prefix, 0, len(texts))
	for _, text := range texts {
		network, err := netip.ParsePrefix(text)
		if err != nil {
			address, addressErr := netip.ParseAddr(text)
			if addressErr != nil {
				return nil, fmt.Errorf("%q is neither an address nor a network such as 10.0.0.0/8", text)
			}
			network = netip.PrefixFrom(address, address.BitLen())
		}
		networks = append(networks, network)
	}
	return networks, nil
}

func checkCount(wrong *faults, flag string, n, highest int) {
	if n < 1 || n > highest {
		wrong.add(flag, "is %d; 1 to %d is right", n, highest)
	}
}

func checkOneOf(wrong *faults, flag, value string, allowed ...string) {
	for _, one := range allowed {
		if value == one {
			return
		}
	}
	wrong.add(flag, "%q is none of %s", value, strings.Join(allowed, ", "))
}
