package publisher_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"

	"stampede/events/cloudevents"
	"stampede/events/internal/logtest"
	"stampede/events/publisher"
)

// Clusters that are set up otherwise than the suite's: several brokers, with
// log-in and encryption, with topics that somebody made before. All of them in
// memory.

func cluster(t *testing.T, opts ...kfake.Opt) []string {
	t.Helper()
	c, err := kfake.NewCluster(opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c.ListenAddrs()
}

func TestSeveralBrokers(t *testing.T) {
	addrs := cluster(t, kfake.NumBrokers(3))
	s := &brokerSuite{addr: addrs[0]}
	j := logtest.NewJournal(1)
	logtest.NewShop(j, 31, 10).Trade(1, 400)
	j.End(1)
	cfg := s.config(t, j, 1)
	cfg.Brokers, cfg.Replication = addrs, 3
	run(t, cfg)
	s.check(t, cfg, j.Records(1), 1)
}

func TestLogIn(t *testing.T) {
	server := httptest.NewUnstartedServer(nil)
	server.StartTLS() // only for its certificate
	defer server.Close()
	trusted := x509.NewCertPool()
	trusted.AddCert(server.Certificate())
	encrypted := &tls.Config{RootCAs: trusted, MinVersion: tls.VersionTLS12}

	for _, mechanism := range []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"} {
		t.Run(mechanism, func(t *testing.T) {
			addrs := cluster(t, kfake.NumBrokers(1), kfake.EnableSASL(), kfake.Superuser(mechanism, "stampede", "right"), kfake.TLS(server.TLS.Clone()))
			j := logtest.NewJournal(1)
			logtest.NewShop(j, 32, 3).Trade(1, 20)
			j.End(1)
			cfg := (&brokerSuite{addr: addrs[0]}).config(t, j, 1)
			cfg.TLS, cfg.SASL = encrypted, publisher.SASL{Mechanism: mechanism, Username: "stampede", Password: "right"}
			run(t, cfg)
			if m, _ := j.Watermarks(t.Context(), publisher.GroupName("order")); m[1] == 0 {
				t.Error("nothing was published")
			}

			var logged lockedBuffer
			unsent := logtest.NewJournal(1)
			logtest.NewShop(unsent, 33, 3).Trade(1, 20)
			unsent.End(1)
			wrong := (&brokerSuite{addr: addrs[0]}).config(t, unsent, 1)
			wrong.TLS, wrong.SASL = encrypted, publisher.SASL{Mechanism: mechanism, Username: "stampede", Password: "wr0ng-secret"}
			wrong.Logger = slog.New(slog.NewTextHandler(&logged, nil))
			p, err := publisher.New(wrong)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			ended := make(chan error, 1)
			go func() { ended <- p.Run(ctx) }()
			if err := waitUntil(t.Context(), func() bool { return strings.Contains(logged.String(), "topics cannot be prepared") }); err != nil {
				t.Errorf("it does not say that the brokers refuse it: %s", logged.String())
			}
			select {
			case err := <-ended:
				t.Fatalf("with a wrong password it ended by itself: %v", err)
			default:
			}
			cancel()
			if err := <-ended; err != nil {
				t.Errorf("when it was told to end: %v", err)
			}
			if m, _ := unsent.Watermarks(t.Context(), publisher.GroupName("order")); m[1] != 0 {
				t.Error("published with a wrong password")
			}
			if text := logged.String(); strings.Contains(text, "wr0ng-secret") {
				t.Errorf("log: %s", text)
			}
		})
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// TestTopicsThatBreakThePromise are complained of by name, and used.
func TestTopicsThatBreakThePromise(t *testing.T) {
	addrs := cluster(t, kfake.NumBrokers(1))
	client := &kafka.Client{Addr: kafka.TCP(addrs[0]), Transport: &kafka.Transport{Context: t.Context()}}
	if _, err := client.CreateTopics(t.Context(), &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{
		{Topic: cloudevents.TopicOrders, NumPartitions: 3, ReplicationFactor: 1},
		{Topic: cloudevents.TopicStock, NumPartitions: 12, ReplicationFactor: 1, ConfigEntries: []kafka.ConfigEntry{{ConfigName: "cleanup.policy", ConfigValue: "compact"}}},
		{Topic: cloudevents.TopicStockLevels, NumPartitions: 12, ReplicationFactor: 1, ConfigEntries: []kafka.ConfigEntry{{ConfigName: "cleanup.policy", ConfigValue: "delete"}}},
	}}); err != nil {
		t.Fatal(err)
	}
	j := logtest.NewJournal(1)
	logtest.NewShop(j, 33, 3).Trade(1, 50)
	j.End(1)
	var logged lockedBuffer
	cfg := (&brokerSuite{addr: addrs[0]}).config(t, j, 1)
	cfg.Logger = slog.New(slog.NewTextHandler(&logged, nil))
	run(t, cfg)
	for _, want := range []string{"stampede.orders.v1 has 3 partitions", "stampede.stock.v1 has cleanup.policy=compact", "stampede.stock-levels.v1 has cleanup.policy=delete"} {
		if !strings.Contains(logged.String(), want) {
			t.Errorf("the log does not say %q:\n%s", want, &logged)
		}
	}
	if strings.Contains(logged.String(), "products") {
		t.Errorf("a topic that was just made is complained of:\n%s", &logged)
	}
}

func TestConfigurationFaultsAreListedAtOnce(t *testing.T) {
	_, err := publisher.New(publisher.Config{
		Brokers: []string{"localhost"}, Replication: -1, Compression: "rar", SASL: publisher.SASL{Mechanism: "KERBEROS"},
	})
	for _, want := range []string{`"localhost"`, "-1", `"rar"`, `"KERBEROS"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not name %s", err, want)
		}
	}
	if _, err := publisher.New(publisher.Config{}); err == nil {
		t.Error("no broker was taken")
	}
}
