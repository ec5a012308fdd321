package servers

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"
)

// kafkaProperties has the addresses and the folder to be filled in. The internal
// topics have few partitions: there are few groups. A broker that was killed is
// let in again when its session has ended.
const kafkaProperties = `process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:%[2]d
listeners=PLAINTEXT://127.0.0.1:%[1]d,CONTROLLER://127.0.0.1:%[2]d
advertised.listeners=PLAINTEXT://127.0.0.1:%[1]d
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs=%[3]s
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=3000
`

const kafkaLogging = `<Configuration status="WARN">
  <Appenders><Console name="out"><PatternLayout pattern="%d %p %c: %m%n"/></Console></Appenders>
  <Loggers><Root level="WARN"><AppenderRef ref="out"/></Root></Loggers>
</Configuration>
`

// Kafka is one KRaft broker, which creates no topic by itself. Its methods are
// for one goroutine.
type Kafka struct {
	// Address is the bootstrap address; it stays the same over Restart.
	Address string
	*Process
}

// StartKafka starts a broker on free loopback ports, with its data in a temporary
// folder.
func StartKafka() (*Kafka, error) {
	libs, err := fetchedFile(kafkaHome, "libs")
	if err != nil {
		return nil, err
	}
	java, err := exec.LookPath("java")
	if err != nil {
		return nil, fmt.Errorf("%w: no java on PATH", ErrAbsent)
	}
	k := &Kafka{}
	k.Process, err = OnFreePorts(2, func(ports []int) (*Process, error) {
		dir, err := NewFolder("kafka")
		if err != nil {
			return nil, err
		}
		k.Address = fmt.Sprintf("127.0.0.1:%d", ports[0])
		p := &Process{Name: "kafka", Dir: dir}
		id := clusterID()
		p.Ready = func(ctx context.Context) error { return kafkaReady(ctx, k.Address, id) }
		run := []string{
			java, "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", filepath.Join(libs, "*"),
			"-Dlog4j2.configurationFile=" + filepath.Join(dir, "log4j2.xml"),
		}
		properties := filepath.Join(dir, "server.properties")
		if err := formatKafka(run, dir, properties, id, ports); err != nil {
			return p, err
		}
		p.Argv = append(run, "kafka.Kafka", properties)
		return p, p.Start()
	})
	return k, err
}

// clusterID is a new one in the form that Kafka wants: 16 bytes, of which the
// first must not become a hyphen, which would look like a flag.
func clusterID() string {
	var id [16]byte
	rand.Read(id[:]) // never fails
	id[0] &= 0x7f
	return base64.RawURLEncoding.EncodeToString(id[:])
}

// formatKafka writes the broker's configuration and prepares its data folder.
func formatKafka(run []string, dir, properties, id string, ports []int) error {
	// A properties file takes a backslash for an escape.
	data := strings.ReplaceAll(filepath.Join(dir, "data"), `\`, `\\`)
	config := fmt.Sprintf(kafkaProperties, ports[0], ports[1], data)
	if err := os.WriteFile(properties, []byte(config), 0o600); err != nil {
		return fmt.Errorf("writing configuration: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "log4j2.xml"), []byte(kafkaLogging), 0o600); err != nil {
		return fmt.Errorf("writing configuration: %w", err)
	}
	argv := append(append([]string{}, run...), "kafka.tools.StorageTool", "format", "--standalone",
		"-t", id, "-c", properties)
	ctx, cancel := context.WithTimeout(context.Background(), ReadyWithin)
	defer cancel()
	if out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput(); err != nil { //nolint:gosec // the program is one of ours
		return fmt.Errorf("formatting the data folder: %w\n%s", err, out)
	}
	return nil
}

// kafkaReady returns nil when the broker at address has joined the cluster id.
func kafkaReady(ctx context.Context, address, id string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	client := &kafka.Client{Addr: kafka.TCP(address), Timeout: 5 * time.Second, Transport: &kafka.Transport{}}
	defer client.Transport.(*kafka.Transport).CloseIdleConnections()
	meta, err := client.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{}})
	if err != nil {
		return fmt.Errorf("metadata: %w", err)
	}
	if meta.ClusterID != id {
		return fmt.Errorf("address already in use at %s by a broker of cluster %s", address, meta.ClusterID)
	}
	if len(meta.Brokers) == 0 {
		return errors.New("the broker has not joined yet")
	}
	return nil
}
