package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// parseFor parses a command line in an environment without Stampede's own
// variables but the given ones.
func parseFor(t *testing.T, env map[string]string, args ...string) (*parsed, error) {
	t.Helper()
	for _, one := range os.Environ() {
		if name, _, _ := strings.Cut(one, "="); strings.HasPrefix(name, envPrefix+"_") {
			t.Setenv(name, "") // restored after the test
			if err := os.Unsetenv(name); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, value := range env {
		t.Setenv(name, value)
	}
	var out bytes.Buffer
	return parse(args, streams{in: strings.NewReader(""), out: &out, err: &out})
}

func TestServeDefaults(t *testing.T) {
	p, err := parseFor(t, nil, "serve")
	if err != nil {
		t.Fatal(err)
	}
	c := p.command.(*serveCmd)
	want := nodeFlags{
		Listen: "127.0.0.1:8080", AdminListen: "127.0.0.1:8081",
		storeFlags:  storeFlags{DataDir: "./stampede-data", MongoDatabase: "stampede"},
		brokerFlags: brokerFlags{KafkaListen: "127.0.0.1:9092", KafkaReplication: 1, EventsFormat: "json"},
		Payments:    "simulator", HoldMinutes: 10, logFlags: logFlags{LogLevel: "info", LogFormat: "text"},
		clusterFlags: clusterFlags{DrainFor: 2 * time.Second},
	}
	if diff := cmp.Diff(want, c.nodeFlags, cmp.AllowUnexported(nodeFlags{}, stripeFlags{})); diff != "" || c.DevTools {
		t.Errorf("dev tools %v\n%s", c.DevTools, diff)
	}
	if c.holdFor() != 10*time.Minute {
		t.Errorf("holds for %s", c.holdFor())
	}
}

// Every flag has an environment variable, and a flag wins, whichever of the two
// is right.
func TestFlagsWinOverTheEnvironment(t *testing.T) {
	env := map[string]string{
		"STAMPEDE_LISTEN": "127.0.0.1:1000", "STAMPEDE_HOLD_MINUTES": "30", "STAMPEDE_KAFKA": "a:1,b:2", "STAMPEDE_DEV_TOOLS": "true",
		"STAMPEDE_MONGO": "mongodb://u:secret@db:27017", "STAMPEDE_LOG_LEVEL": "debug", "STAMPEDE_KAFKA_REPLICATION": "nonsense",
		// Another command's variable, wrong there, is nothing to this one.
		"STAMPEDE_DURATION": "nonsense", "STAMPEDE_UNITS": "nonsense",
	}
	p, err := parseFor(t, env, "serve", "--listen", "127.0.0.1:2000", "--log-level=warn", "--kafka-replication=3", "--dev-tools=false")
	if err != nil {
		t.Fatal(err)
	}
	c := p.command.(*serveCmd)
	got := []any{c.Listen, c.HoldMinutes, strings.Join(c.Kafka, "+"), c.DevTools, string(c.Mongo), c.LogLevel, c.KafkaReplication}
	want := []any{"127.0.0.1:2000", 30.0, "a:1+b:2", false, "mongodb://u:secret@db:27017", "warn", 3}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, err := parseFor(t, map[string]string{"STAMPEDE_HOLD_MINUTES": "30"}, "serve", "--hold-minutes=nonsense"); err == nil {
		t.Error("a wrong flag was taken because the environment was right")
	}
}

func TestAnEmptyVariableIsNoBroker(t *testing.T) {
	p, err := parseFor(t, map[string]string{"STAMPEDE_KAFKA": "", "STAMPEDE_MONGO": ""}, "serve")
	if err != nil {
		t.Fatal(err)
	}
	if c := p.command.(*serveCmd); len(c.Kafka) != 0 || c.Mongo != "" {
		t.Errorf("%q %q", c.Kafka, c.Mongo)
	}
}

// All faults at once, each by its flag's name, with where the value came from
// and what would be right.
func TestAllFaultsAreListedAtOnce(t *testing.T) {
	env := map[string]string{
		"STAMPEDE_LISTEN": "8080", "STAMPEDE_HOLD_MINUTES": "soon", "STAMPEDE_BOOTSTRAP_ADMIN_PASSWORD": "short", "STAMPEDE_ROLES": "gateway,shop",
	}
	_, err := parseFor(t, env, "serve", "--admin-listen=host:99999", "--kafka-listen=x", "--mongo=postgres://u:hunter2@db/x", "--mongo-database=a b",
		"--kafka=b1:9092,b2", "--kafka-replication=0", "--events-format=xml", "--node-name=-x", "--bootstrap-admin=nobody", "--allowed-origins=shop.example/x",
		"--payments=stripe", "--stripe-webhook-secret-file=/nowhere", "--stripe-return-url=shop", "--log-level=loud", "--log-format=yaml", "--dev-tools=maybe", "--data-dir=", "--cluster-listen=:1", "--kafka-commands=perhaps")
	var wrong faults
	if !errors.As(err, &wrong) {
		t.Fatalf("%T: %v", err, err)
	}
	for _, line := range []string{
		`--listen: "8080" is not host:port with a port from 0 to 65535 (from STAMPEDE_LISTEN)`,
		`--admin-listen: "host:99999" is not host:port`,
		`--data-dir: is empty; give a directory`,
		`--mongo: "postgres://u:***@db/x" is not a MongoDB address`,
		`--mongo-database: "a b" is not a database's name`,
		`--kafka: "b2" is not host:port with a port from 1 to 65535`,
		`--kafka-listen: "x" is not host:port`,
		`--kafka-replication: is 0; 1 to 100 is right`,
		`--events-format: "xml" is none of json, protobuf`,
		`--node-name: "-x" is not 1 to 63 letters`,
		`--bootstrap-admin: "nobody" is not an e-mail address`,
		`--bootstrap-admin: the password in STAMPEDE_BOOTSTRAP_ADMIN_PASSWORD has 5 bytes; 8 to 72 are right`,
		`--allowed-origins: "shop.example/x" is not an origin`,
		`--stripe-key-file: is needed with --payments stripe, or the key in STAMPEDE_STRIPE_KEY`,
		`--stripe-webhook-secret-file: "/nowhere" cannot be read`,
		`--stripe-return-url: "shop" is not a page such as https://shop.example/orders`,
		`--hold-minutes: "soon" is not a number (from STAMPEDE_HOLD_MINUTES)`,
		`--log-level: "loud" is none of debug, info, warn, error`,
		`--log-format: "yaml" is none of text, json`,
		`--dev-tools: "maybe" is neither true nor false`,
		`--kafka-commands: "perhaps" is neither true nor false`,
		`--cluster-listen: needs --signing-keys: a token that one node signs is checked by all of them`,
		`--cluster-listen: :1 is more than loopback, where nodes must know each other`,
		`--cluster-advertise: must say how the other nodes reach this one`,
		`--roles: "shop" is none of gateway, actors, publisher (from STAMPEDE_ROLES)`,
	} {
		if !strings.Contains(wrong.Error(), "\n  "+line) {
			t.Errorf("missing: %s", line)
		}
	}
	if len(wrong) != 25 {
		t.Errorf("%d faults, want 25: %v", len(wrong), wrong)
	}
	if text := wrong.Error(); strings.Contains(text, "hunter2") || strings.Contains(text, `"short"`) {
		t.Errorf("a secret was printed:\n%s", text)
	}
}

func TestSingleFaults(t *testing.T) {
	for _, c := range []struct {
		args string
		want string
	}{
		{"serve --listen=127.0.0.1:9000 --admin-listen=127.0.0.1:9000", "--admin-listen: is the same as --listen"},
		{"serve --listen=127.0.0.1:0 --admin-listen=127.0.0.1:0", ""},
		{"serve --listen=:8080 --admin-listen=[::1]:0", ""},
		{"serve --kafka-replication=3", "--kafka-replication: is 3, but the embedded broker is one broker"},
		{"serve --kafka-replication=3 --kafka=b:9092", ""},
		{"serve --bootstrap-admin=a@b.example", "--bootstrap-admin: needs the password in STAMPEDE_BOOTSTRAP_ADMIN_PASSWORD"},
		{"serve --hold-minutes=0", "--hold-minutes: is 0; 0.01 to 10080 is right"},
		{"serve --hold-minutes=10081", "--hold-minutes: is 10081; 0.01 to 10080 is right"},
		{"serve --hold-minutes=NaN", "--hold-minutes: is NaN; 0.01 to 10080 is right"},
		{"serve --hold-minutes=-1", "--hold-minutes: is -1; 0.01 to 10080 is right"},
		{"serve --hold-minutes=0.05", ""},
		{"serve --cluster-listen=127.0.0.1:0", "--cluster-listen: needs --mongo"},
		{"serve --cluster-listen=127.0.0.1:0 --mongo=mongodb://db:1", "--cluster-listen: needs --kafka"},
		{"serve --cluster-listen=127.0.0.1:0 --mongo=mongodb://db:1 --kafka=k:1", "--cluster-listen: needs --signing-keys"},
		{"serve --cluster-listen=127.0.0.1:0 --mongo=mongodb://db:1 --kafka=k:1 --roles=actors,publisher", ""},
		{"serve --cluster-listen=127.0.0.1:0 --mongo=mongodb://db:1 --kafka=k:1 --roles=actors --cluster-tls-ca=ca.pem", "--cluster-tls-cert: --cluster-tls-cert, --cluster-tls-key and --cluster-tls-ca belong together"},
		{"serve --cluster-listen=10.0.0.1:0 --mongo=mongodb://db:1 --kafka=k:1 --roles=actors", "--cluster-listen: 10.0.0.1:0 is more than loopback"},
		{"serve --cluster-listen=10.0.0.1:0 --mongo=mongodb://db:1 --kafka=k:1 --roles=actors --cluster-insecure", ""},
		{"serve --roles=actors", "--roles: is for a node of many"},
		{"serve --cluster-tls-key=x", "--cluster-tls-key: is for a node of many"},
		{"serve --drain-for=1h", "--drain-for: is 1h0m0s; 0s to 10s is right"},
		{"serve --mongo=mongodb+srv://cluster.example/", ""},
		{"serve --mongo=mongodb://", `--mongo: "mongodb://" is not a MongoDB address`},
		{"serve --signing-keys=config_test.go", `--signing-keys: "config_test.go" is a file`},
		{"serve --allowed-origins=https://a.example,*", ""},
		{"serve --trusted-proxies=10.0.0.0/8,192.0.2.1,2001:db8::/32", ""},
		{"serve --trusted-proxies=10.0.0.0/33", `--trusted-proxies: "10.0.0.0/33" is neither an address nor a network`},
		{"serve --allowed-origins=https://a.example/", `--allowed-origins: "https://a.example/" is not an origin`},
		{"serve --nonsense", "unknown flag --nonsense"},
		{"demo --units=0 --shoppers=0 --concurrency=0 --skus=0", "4 faults"},
		{"demo --units=2 --skus=5", "--skus: is 5, but there are only 2 units"},
		{"demo --shoppers=1000001", "--shoppers: is 1000001; 1 to 1000000 is right"},
		{"demo --mongo=nonsense", "--mongo:"},
		{"demo", ""},
		{"demo --pay --waiting-room --admission=first-come --hold=30s --skus=50", ""},
		{"demo --pay --hold=1s", "--hold: is 1s; 2s to 10m0s is right"},
		{"demo --waiting-room --admission=bribe", `--admission: "bribe" is none of shuffled, first-come`},
		{"demo --waiting-room --skus=101", "--skus: is 101; a sale with a waiting room has at most 100"},
		{"bench", "--use-skus: nothing says what to order"},
		{"bench --use-skus=A", ""},
		{"bench --lane=read", ""},
		{"bench --lane=write", "--lane: \"write\" is none of place, pay, sale, read"},
		{"bench --lane=pay --use-skus=A", ""},
		{"bench --lane=pay", "--use-skus: nothing says what to order"},
		{"bench --lane=sale --use-skus=A", "--lane: sale needs somebody who makes the sale"},
		{"bench --lane=sale --use-skus=A", "--use-skus: is not for --lane sale"},
		{"bench --lane=read --duration=1ms", "--duration: is 1ms; 1s to 10m0s is right"},
		{"bench --lane=read --duration=soon", `--duration: "soon" is not a duration such as 30s`},
		{"bench --lane=read --url=shop.example", `--url: "shop.example" is not an http or https URL`},
		{"bench --staff-email=a@b.example", "--staff-email: needs the password in STAMPEDE_STAFF_PASSWORD"},
		{"bench --signing-keys=/no/such/directory", "--signing-keys: \"/no/such/directory\" cannot be read"},
		{"config", "expected \"check\""},
		{"sell", "unexpected argument sell"},
	} {
		_, err := parseFor(t, nil, strings.Fields(c.args)...)
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.args, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v, want %s", c.args, err, c.want)
		}
	}
}

// dev makes an operator of its own unless one is given.
func TestDevsOperator(t *testing.T) {
	operator := func(env map[string]string, args ...string) *devCmd {
		p, err := parseFor(t, env, append([]string{"dev"}, args...)...)
		if err != nil {
			t.Fatal(err)
		}
		return p.command.(*devCmd)
	}
	first, second := operator(nil), operator(nil)
	if first.BootAdmin != devAdmin || len(first.bootPassword) < 12 || first.bootPassword == second.bootPassword {
		t.Errorf("%q with passwords of %d bytes, equal: %v", first.BootAdmin, len(first.bootPassword), first.bootPassword == second.bootPassword)
	}
	given := operator(map[string]string{adminPasswordEnv: "correct horse"})
	if given.BootAdmin != devAdmin || given.bootPassword != "correct horse" || given.generated != "" {
		t.Errorf("%q, generated %v", given.BootAdmin, given.generated != "")
	}
	other := operator(map[string]string{adminPasswordEnv: "correct horse"}, "--bootstrap-admin=me@shop.example")
	if other.BootAdmin != "me@shop.example" || other.generated != "" {
		t.Errorf("%q, generated %v", other.BootAdmin, other.generated != "")
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	for in, want := range map[secretURI]string{
		"":                            "",
		"mongodb://db:1":              "mongodb://db:1",
		"mongodb://user@db:1/?x=y":    "mongodb://user@db:1/?x=y",
		"mongodb://u:p@db:1/?x=y":     "mongodb://u:***@db:1/?x=y",
		"mongodb://u:p@ss@db:1":       "mongodb://u:***@db:1",
		"mongodb+srv://u:@db.example": "mongodb+srv://u:***@db.example",
	} {
		if in.String() != want {
			t.Errorf("%q prints as %q, want %q", string(in), in, want)
		}
	}
	if secret("x").String() != "***" || secret("").String() != "" {
		t.Error("a secret prints")
	}
}

// config check shows what is in force, where from, without secrets.
func TestConfigCheck(t *testing.T) {
	p, err := parseFor(t, map[string]string{
		"STAMPEDE_MONGO": "mongodb://u:hunter2@db:1", "STAMPEDE_HOLD_MINUTES": "20", adminPasswordEnv: "correct horse",
	}, "config", "check", "--bootstrap-admin=me@shop.example", "--kafka=a:1,b:2")
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := p.command.Run(t.Context(), streams{out: &out}); err != nil {
		t.Fatal(err)
	}
	fields := map[string]string{}
	for line := range strings.Lines(out.String()) {
		if words := strings.Fields(line); len(words) == 3 {
			fields[words[0]] = words[1] + " " + words[2]
		}
	}
	for name, want := range map[string]string{
		"--mongo": "mongodb://u:***@db:1 STAMPEDE_MONGO", "--hold-minutes": "20 STAMPEDE_HOLD_MINUTES", "--bootstrap-admin": "me@shop.example flag",
		"--kafka": "a:1,b:2 flag", "--listen": "127.0.0.1:8080 default", adminPasswordEnv: "*** " + adminPasswordEnv, "--node-name": "- default",
	} {
		if fields[name] != want {
			t.Errorf("%s is shown as %q, want %q", name, fields[name], want)
		}
	}
	if strings.Contains(out.String(), "hunter2") || strings.Contains(out.String(), "horse") {
		t.Errorf("printed:\n%s", &out)
	}
}

func TestConfigCheckListsFaultsToo(t *testing.T) {
	p, err := parseFor(t, map[string]string{"STAMPEDE_HOLD_MINUTES": "never"}, "config", "check", "--listen=x")
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	err = p.command.Run(t.Context(), streams{out: &out})
	var wrong faults
	if !errors.As(err, &wrong) || len(wrong) != 2 || !strings.Contains(out.String(), "--listen") {
		t.Errorf("%v\n%s", err, &out)
	}
}

// Stripe's secrets come from files or the environment and are never printed.
func TestStripeSecrets(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte("sk_test_hidden\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	p, err := parseFor(t, map[string]string{stripeWebhookSecretEnv: "whsec_hidden"}, "config", "check", "--payments=stripe", "--stripe-key-file="+file, "--stripe-return-url=https://shop.example/orders")
	if err != nil {
		t.Fatal(err)
	}
	c := p.command.(*configCheckCmd)
	if err := c.Run(t.Context(), streams{out: &out}); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	if c.stripeKey != "sk_test_hidden" || c.stripeWebhookSecret != "whsec_hidden" {
		t.Errorf("read %q and %q", string(c.stripeKey), string(c.stripeWebhookSecret))
	}
	if text := out.String(); strings.Contains(text, "hidden") || strings.Count(text, "***") != 2 {
		t.Errorf("printed:\n%s", text)
	}
}
