package e2e

// The consumers that docs/events/examples shows, against a real Kafka: killed
// and started again, with everything published more than once, their replicas
// are the shop's stock.

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	_ "modernc.org/sqlite"

	"stampede/internal/testservers"
)

const stockTopic = "stampede.stock.v1"

// replicated is what a consumer knows of a SKU.
type replicated struct{ Sequence, Sold, OnHand, Available, Held, Committed, Unavailable int64 }

// consumer is one of the examples, as a process that is started and killed.
type consumer struct {
	name    string
	command func() *exec.Cmd
	// read is its replica, and the positions that belong to it.
	read    func() (stock map[string]replicated, positions map[int]int64, err error)
	process *exec.Cmd
	said    *bytes.Buffer
	release func()
}

func (c *consumer) start(t *testing.T) {
	t.Helper()
	c.process, c.said = c.command(), &bytes.Buffer{}
	c.process.Stdout, c.process.Stderr, c.process.WaitDelay = c.said, c.said, time.Second
	if err := c.process.Start(); err != nil {
		t.Fatal(err)
	}
	c.release = testservers.Guard(t, c.process.Process.Pid)
}

// kill ends it as a power cut would.
func (c *consumer) kill(t *testing.T) {
	t.Helper()
	if c.process == nil {
		return
	}
	_ = c.process.Process.Kill() // its only error: it has ended already
	if err := c.process.Wait(); c.process.ProcessState.Exited() {
		t.Errorf("the %s consumer ended by itself: %v\n%s", c.name, err, c.said)
	}
	c.release()
	c.process = nil
}

func TestConsumersToCopy(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for consumer groups to notice who was killed")
	}
	t.Parallel()
	broker := testservers.KafkaProcess(t).Address()
	s := serve(t, t.TempDir(), "--kafka="+broker)
	skus := []string{"COPY-1", "COPY-2", "COPY-3", "COPY-4", "COPY-5"}
	var variants []variant
	for _, sku := range skus {
		variants = append(variants, variant{sku, "5.00", 500})
	}
	sh := openShop(t, s, 1, variants...)
	consumers := []*consumer{goConsumer(t, broker), nodeConsumer(t, broker)}
	sold := map[string]int64{}
	round := 0
	trade := func() { // some are sold, some are held, some are given back
		round++
		for i := range 20 {
			sku := skus[i%len(skus)]
			key := "copy-" + strconv.Itoa(round) + "-" + strconv.Itoa(i)
			sold[sku] += tradeOne(t, sh.customers[0], key, sku, i)
		}
	}
	trade()
	for _, c := range consumers {
		c.start(t)
		defer c.kill(t)
	}
	for _, c := range consumers {
		eventually(t, 2*time.Minute, c.name+" has begun", func() error {
			if stock, _, err := c.read(); err != nil || len(stock) == 0 {
				return errors.Join(err, fmt.Errorf("%d SKUs", len(stock)))
			}
			return nil
		})
		c.kill(t)
	}
	trade()
	for _, c := range consumers {
		c.start(t)
	}
	replaySKUs(t, sh.operator)
	if n := publishAgain(t, broker); n < 100 {
		t.Errorf("only %d messages were copied", n)
	}
	trade()
	sameStock(t, sh, consumers, skus, sold)

	publishAgain(t, broker)
	ends := endOffsets(t, broker)
	for _, c := range consumers {
		eventually(t, 2*time.Minute, c.name+" has read everything", func() error {
			if _, positions, err := c.read(); err != nil || !maps.Equal(positions, ends) {
				return errors.Join(err, fmt.Errorf("%v, want %v", positions, ends))
			}
			return nil
		})
	}
	sameStock(t, sh, consumers, skus, sold)
	s.checkPublished() // repeats are the same, and behind what they repeat
}

// tradeOne places an order, and is how many units it has sold.
func tradeOne(t *testing.T, c *client, key, sku string, i int) int64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	payment := "tok_ok"
	if i%4 == 3 {
		payment = ""
	}
	o, err := settle(ctx, func() (*order, error) { return c.place(ctx, key, payment, want{sku, 1 + i%2}) })
	if err != nil || (payment != "") != (o.State == "CONFIRMED") {
		t.Fatal(unexpected("an order", o, err))
	}
	if payment != "" {
		return int64(1 + i%2)
	}
	if i%8 == 7 {
		if _, err := settle(ctx, func() (*order, error) { return c.cancel(ctx, o.ID) }); err != nil {
			t.Fatal(err)
		}
	}
	return 0
}

func sameStock(t *testing.T, sh *shop, consumers []*consumer, skus []string, sold map[string]int64) {
	t.Helper()
	wanted := map[string]replicated{}
	for _, sku := range skus {
		l := sh.level(t, sku)
		wanted[sku] = replicated{l.Version, sold[sku], int64(l.OnHand), int64(l.Available), int64(l.Held), int64(l.Committed), int64(l.Unavailable)}
		if wanted[sku].Committed != sold[sku] {
			t.Errorf("%s: %d units are committed, %d were sold", sku, l.Committed, sold[sku])
		}
	}
	for _, c := range consumers {
		eventually(t, 2*time.Minute, "the stock of the "+c.name+" consumer", func() error {
			if got, _, err := c.read(); err != nil || !maps.Equal(got, wanted) {
				return errors.Join(err, fmt.Errorf("%v, want %v; it said %s", got, wanted, c.said))
			}
			return nil
		})
	}
}

// replaySKUs has the shop publish its stock's events again.
func replaySKUs(t *testing.T, operator *client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var payload struct{ Republished int }
	err := operator.mutate(ctx, "replayEvents", "ReplayEventsInput", "republished", map[string]any{"kind": "sku"}, &payload)
	if err != nil || payload.Republished == 0 {
		t.Errorf("replay: %d events, %v", payload.Republished, err)
	}
}

// publishAgain copies every message of the topic to its end, in order.
func publishAgain(t *testing.T, broker string) int {
	t.Helper()
	writer := &kafka.Writer{Addr: kafka.TCP(broker), Topic: stockTopic, Balancer: &kafka.Murmur2Balancer{Consistent: true}, RequiredAcks: kafka.RequireAll, BatchTimeout: 10 * time.Millisecond}
	defer writer.Close()
	copied := 0
	for partition, end := range endOffsets(t, broker) {
		reader := kafka.NewReader(kafka.ReaderConfig{Brokers: []string{broker}, Topic: stockTopic, Partition: partition, MaxWait: 100 * time.Millisecond})
		defer reader.Close()
		var all []kafka.Message
		for next := int64(0); next < end; {
			m, err := reader.ReadMessage(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			next = m.Offset + 1
			all = append(all, kafka.Message{Key: m.Key, Value: m.Value, Headers: m.Headers})
		}
		if err := writer.WriteMessages(t.Context(), all...); err != nil {
			t.Fatal(err)
		}
		copied += len(all)
	}
	return copied
}

// endOffsets are those of the partitions that have messages.
func endOffsets(t *testing.T, broker string) map[int]int64 {
	t.Helper()
	client := &kafka.Client{Addr: kafka.TCP(broker), Timeout: soon}
	var asked []kafka.OffsetRequest
	for partition := range 12 {
		asked = append(asked, kafka.LastOffsetOf(partition))
	}
	answer, err := client.ListOffsets(t.Context(), &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{stockTopic: asked}})
	if err != nil {
		t.Fatal(err)
	}
	ends := map[int]int64{}
	for _, p := range answer.Topics[stockTopic] {
		if p.Error != nil {
			t.Fatal(p.Error)
		}
		if p.LastOffset > 0 {
			ends[p.Partition] = p.LastOffset
		}
	}
	return ends
}

func goConsumer(t *testing.T, broker string) *consumer {
	t.Helper()
	dir := t.TempDir()
	program, database := filepath.Join(dir, "replica"), filepath.Join(dir, "replica.db")
	if output, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "stampede/docs/events/examples/go").CombinedOutput(); err != nil {
		t.Fatalf("building the Go consumer: %v\n%s", err, output)
	}
	return &consumer{
		name:    "Go",
		command: func() *exec.Cmd { return exec.Command(program, "-brokers="+broker, "-database="+database) },
		read:    func() (map[string]replicated, map[int]int64, error) { return readDatabase(t.Context(), database) },
	}
}

// readDatabase reads the replica of the Go consumer in one transaction.
func readDatabase(ctx context.Context, path string) (stock map[string]replicated, positions map[int]int64, err error) {
	if _, err := os.Stat(path); err != nil {
		return nil, nil, err
	}
	db, err := sql.Open("sqlite", "file:"+path+"?mode=ro&_pragma=busy_timeout(5000)")
	if err != nil {
		return nil, nil, err
	}
	defer db.Close()
	rows, err := db.QueryContext(ctx, `SELECT sku, sequence, sold, on_hand, available, held, committed, unavailable, '' FROM stock
		UNION ALL SELECT '', partition, next, 0, 0, 0, 0, 0, 'position' FROM position`)
	if err != nil {
		return nil, nil, err
	}
	defer rows.Close()
	stock, positions = map[string]replicated{}, map[int]int64{}
	for rows.Next() {
		var sku, what string
		var r replicated
		if err := rows.Scan(&sku, &r.Sequence, &r.Sold, &r.OnHand, &r.Available, &r.Held, &r.Committed, &r.Unavailable, &what); err != nil {
			return nil, nil, err
		}
		if what == "position" {
			positions[int(r.Sequence)] = r.Sold
			continue
		}
		stock[sku] = r
	}
	return stock, positions, rows.Err()
}

func nodeConsumer(t *testing.T, broker string) *consumer {
	t.Helper()
	dir := nodePackage(t, "../../docs/events/examples/node")
	file := filepath.Join(t.TempDir(), "replica.json")
	return &consumer{
		name: "Node",
		command: func() *exec.Cmd {
			node := exec.Command("node", "replica.mjs")
			node.Dir = dir
			node.Env = append(environment(), "BROKERS="+broker, "FILE="+file)
			return node
		},
		read: func() (map[string]replicated, map[int]int64, error) {
			content, err := os.ReadFile(file)
			if err != nil {
				return nil, nil, err
			}
			var replica struct {
				Positions map[int]json.Number
				Stock     map[string]replicated
			}
			if err := json.Unmarshal(content, &replica); err != nil {
				return nil, nil, err
			}
			positions := map[int]int64{}
			for partition, next := range replica.Positions {
				if positions[partition], err = next.Int64(); err != nil {
					return nil, nil, err
				}
			}
			return replica.Stock, positions, nil
		},
	}
}
