package e2e

// The tools that the README shows, kcat and Kafka's own console consumer: what
// they print of every topic, held to the journal.

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"stampede/events/cloudevents"
	"stampede/events/eventcheck"
	"stampede/events/publisher"
	"stampede/internal/testservers"
)

// tool prints all topics from their beginning to their end, a line for each of
// so many messages.
type tool struct {
	name string
	read func(ctx context.Context, t *testing.T, broker string, messages int) []eventcheck.Message
}

var errNotALine = errors.New("not a line of the tool")

func TestToolsReadTheTopics(t *testing.T) {
	t.Run("embedded", func(t *testing.T) {
		t.Parallel()
		toolsRead(t)
	})
	t.Run("Kafka", func(t *testing.T) {
		if testing.Short() {
			t.Skip("starts a Kafka")
		}
		t.Parallel()
		// One of its own: everything on the topics is compared with one journal.
		toolsRead(t, "--kafka="+testservers.KafkaProcess(t).Address())
	})
}

func toolsRead(t *testing.T, flags ...string) {
	tools := []tool{kcat(t), consoleConsumer(t)}
	dir := t.TempDir()
	s := serve(t, dir, flags...)
	sh := openShop(t, s, 1, variant{"TOOL-1", "10.00", 100}, variant{"TOOL-2", "0.50", 100})
	bought, kept := buyAndCancel(t, sh)
	expectSettled(t, s, bought, kept)
	eventually(t, soon, "everything is acknowledged by the broker", func() error { return nothingPending(t, s) })

	there := len(onTopics(t, s.kafka))
	printed := map[string][]eventcheck.Message{}
	ctx, cancel := context.WithTimeout(t.Context(), 2*soon)
	defer cancel()
	for _, one := range tools {
		printed[one.name] = one.read(ctx, t, s.kafka, there)
	}
	s.stop()
	records := readLeft(t, dir).records
	for name, messages := range printed {
		if len(messages) < there {
			t.Errorf("%s prints %d lines of %d messages", name, len(messages), there)
		}
		checker := eventcheck.New(cloudevents.NewMapper(cloudevents.JSON, ""))
		if err := checker.Expect(records...); err != nil {
			t.Fatal(err)
		}
		for i := range messages {
			checker.Consume(messages[i])
		}
		for _, fault := range checker.Done() {
			t.Errorf("as %s prints it: %v", name, fault)
		}
		placed := slices.IndexFunc(messages, func(m eventcheck.Message) bool {
			return m.Topic == cloudevents.TopicOrders && m.Key == bought && m.Header("ce_type") == "OrderPlaced"
		})
		if want := `"lines":[{"sku":"TOOL-1","quantity":2},{"sku":"TOOL-2","quantity":1}]`; placed < 0 || !strings.Contains(string(messages[placed].Value), want) {
			t.Errorf("%s prints nothing of order %s with %s", name, bought, want)
		}
	}
}

// buyAndCancel places two orders, of which the first is paid and the second
// is cancelled.
func buyAndCancel(t *testing.T, sh *shop) (bought, cancelled string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	who := sh.customers[0]
	first, err := settle(ctx, func() (*order, error) {
		return who.place(ctx, "tool-1", "tok_ok", want{"TOOL-1", 2}, want{"TOOL-2", 1})
	})
	if err != nil || first.State != "CONFIRMED" {
		t.Fatal(unexpected("buying", first, err))
	}
	second, err := settle(ctx, func() (*order, error) { return who.place(ctx, "tool-2", "", want{"TOOL-1", 1}) })
	if err != nil || second.State != "RESERVED" {
		t.Fatal(unexpected("an order", second, err))
	}
	if o, err := settle(ctx, func() (*order, error) { return who.cancel(ctx, second.ID) }); err != nil {
		t.Fatal(unexpected("cancelling it", o, err))
	}
	return first.ID, second.ID
}

// expectSettled waits until nothing more becomes of the orders by itself.
func expectSettled(t *testing.T, s *server, bought, cancelled string) {
	t.Helper()
	last := map[string]string{bought: "PaymentCaptured", cancelled: "OrderHoldsReleased"}
	consume(t, s.kafka, cloudevents.TopicOrders, soon, func(seen map[string][]published) error {
		for id, kind := range last {
			if !slices.ContainsFunc(seen[id], func(e published) bool { return e.kind == kind }) {
				return fmt.Errorf("no %s of %s among %v", kind, id, seen[id])
			}
		}
		return nil
	})
}

func kcat(t *testing.T) tool {
	t.Helper()
	path, err := exec.LookPath("kcat")
	if err != nil {
		testservers.Missing(t, "kcat", "run `make servers`, or put kcat on PATH", err)
	}
	return tool{name: "kcat", read: func(ctx context.Context, t *testing.T, broker string, _ int) (all []eventcheck.Message) {
		t.Helper()
		for _, topic := range cloudevents.Topics() {
			cmd := exec.CommandContext(ctx, path, "-b", broker, "-C", "-t", topic.Name, "-o", "beginning", "-e", "-q", "-f", `%p\t%h\t%k\t%s\n`)
			some := linesOf(t, cmd, "", "=")
			for i := range some {
				some[i].Topic = topic.Name
			}
			all = append(all, some...)
		}
		return all
	}}
}

// consoleConsumer is what bin/kafka-console-consumer.sh runs, once for all
// topics. Without a number of messages it ends when none has come for a while.
func consoleConsumer(t *testing.T) tool {
	t.Helper()
	java, classPath := testservers.KafkaTools(t)
	topics := map[string]string{} // of each type of event: it prints none
	for _, topic := range cloudevents.Topics() {
		for _, kind := range cloudevents.Types(topic.Name) {
			topics[kind] = topic.Name
		}
	}
	return tool{name: "the console consumer", read: func(ctx context.Context, t *testing.T, broker string, messages int) []eventcheck.Message {
		t.Helper()
		all := linesOf(t, exec.CommandContext(ctx, java, "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", classPath,
			"org.apache.kafka.tools.consumer.ConsoleConsumer", "--bootstrap-server", broker, "--include", `stampede[.].*`, "--from-beginning",
			"--max-messages", strconv.Itoa(messages), "--timeout-ms", strconv.FormatInt(soon.Milliseconds(), 10),
			"--property", "print.partition=true", "--property", "print.headers=true", "--property", "print.key=true"), "Partition:", ":")
		for i := range all {
			all[i].Topic = topics[all[i].Header("ce_type")]
		}
		return all
	}}
}

// linesOf runs a tool and takes its lines apart: partition, headers, key and
// value, between tabs, which JSON has none of.
func linesOf(t *testing.T, cmd *exec.Cmd, beforePartition, afterName string) (messages []eventcheck.Message) {
	t.Helper()
	var said strings.Builder
	cmd.Stderr = &said
	output, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, said.String())
	}
	for line := range strings.Lines(string(output)) {
		m, err := readLine(strings.TrimSuffix(line, "\n"), beforePartition, afterName)
		if err != nil {
			t.Fatalf("%s printed %q: %v", cmd, line, err)
		}
		messages = append(messages, m)
	}
	return messages
}

func readLine(line, beforePartition, afterName string) (m eventcheck.Message, err error) {
	fields := strings.Split(line, "\t")
	if len(fields) != 4 {
		return m, errNotALine
	}
	if m.Partition, err = strconv.Atoi(strings.TrimPrefix(fields[0], beforePartition)); err != nil {
		return m, errNotALine
	}
	for header := range strings.SplitSeq(fields[1], ",") {
		name, value, ok := strings.Cut(header, afterName)
		if !ok {
			return m, errNotALine
		}
		m.Headers = append(m.Headers, cloudevents.Header{Key: name, Value: value})
	}
	m.Partitions, m.Key, m.Value = publisher.Partitions, fields[2], []byte(fields[3])
	return m, nil
}
