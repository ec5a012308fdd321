package inbound_test

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/segmentio/kafka-go"

	"stampede/actors/entity"
	"stampede/events/inbound"
	"stampede/internal/testservers"
)

// Every command is sent twice, to two members of whom one leaves in the middle:
// each has its effect once, those of one SKU in order.
func (b *brokerSuite) once(t *testing.T) {
	s, source := newShop(), unique(t)
	first, _ := b.member(t, s)
	second, _ := b.member(t, s)
	const skus, each = 20, 15
	var all []kafka.Message
	for n := range each {
		for i := range skus {
			m := adjust(source, fmt.Sprintf("%03d", n), fmt.Sprintf("%s-%d", source, i), 1)
			m.Headers[1].Value = fmt.Appendf(nil, "%d/%03d", i, n)
			all = append(all, m, m)
		}
	}
	b.send(t, all[:len(all)/2]...)
	eventually(t, "the first are done", func() bool { return len(s.done(source+"-0")) > 0 })
	first()
	b.send(t, all[len(all)/2:]...)
	var want []string
	for n := range each {
		want = append(want, fmt.Sprintf("%03d", n))
	}
	for i := range skus {
		id := fmt.Sprintf("%s-%d", source, i)
		eventually(t, id, func() bool { return len(s.done(id)) >= each })
	}
	b.settled(t)
	second()
	for i := range skus {
		id := fmt.Sprintf("%s-%d", source, i)
		if got := s.done(id); !slices.Equal(got, want) {
			t.Errorf("%s: %v", id, got)
		}
	}
}

func (b *brokerSuite) poison(t *testing.T) {
	s, source := newShop(), unique(t)
	key := source + "-A"
	stop, registry := b.member(t, s)
	ok := adjust(source, "before", key, 1)
	again := adjust(source, "before", key, 2) // the same id for something else
	b.send(t,
		ok,
		command(source, "p1", inbound.AdjustStock, key, `{"sku":`),
		command(source, "p2", "stampede.SellEverything", key, `{}`),
		kafka.Message{Key: []byte(key), Value: []byte("\x00\xff"), Headers: []kafka.Header{{Key: "ce_source", Value: []byte(source)}}},
		adjust(source, "p3", key, -5_000),
		adjust(source, "p4", "NONE", 1),
		again,
		command(source, "p5", inbound.MarkUnavailable, key, fmt.Sprintf(`{"sku":%q,"quantity":100000,"reason":"r"}`, key)),
		command(source, "counted", inbound.SetStock, key, fmt.Sprintf(`{"sku":%q,"onHand":7,"reason":"counted"}`, key)),
		adjust(source, "after", key, 1),
	)
	eventually(t, "what is behind", func() bool { return len(s.done(key)) >= 3 })
	letters := b.letters(t, source, 7)
	b.settled(t)
	stop()
	if got := s.done(key); !slices.Equal(got, []string{"before", "counted", "after"}) {
		t.Errorf("done: %v", got)
	}
	want := map[string]string{
		"p1": "MALFORMED", "p2": "MALFORMED", "": "MALFORMED", "p3": "INSUFFICIENT_STOCK", "p4": "NOT_FOUND", "before": "IDEMPOTENCY_MISMATCH", "p5": "INSUFFICIENT_STOCK",
	}
	for id, h := range letters {
		if h[inbound.HeaderReason] != want[id] || h[inbound.HeaderMessage] == "" || h[inbound.HeaderOffset] == "" || h[inbound.HeaderPartition] == "" {
			t.Errorf("dead letter %q: %v, want %s", id, h, want[id])
		}
		delete(want, id)
	}
	if len(want) > 0 {
		t.Errorf("no dead letter of %v", want)
	}
	if n := sum(t, registry, "stampede_commands_refused_total"); n != 7 {
		t.Errorf("%v refused", n)
	}
	if n := sum(t, registry, "stampede_commands_handled_total"); n != 3 {
		t.Errorf("%v handled", n)
	}
}

// The member ends at any of its calls, when the SKU has answered and nothing is
// committed: the next one takes it again, and nothing is done twice.
func (b *brokerSuite) crash(t *testing.T) {
	s, source := newShop(), unique(t)
	const commands = 40
	var all []kafka.Message
	for n := range commands {
		all = append(all, adjust(source, fmt.Sprintf("%03d", n), fmt.Sprintf("%s-%d", source, n%4), 1))
	}
	// The first must leave something to do: however long it has, it hears but a few answers.
	s.mu.Lock()
	s.after = func(_ string, calls int) error {
		if calls < 4 {
			return nil
		}
		return entity.ErrTimeout
	}
	s.mu.Unlock()
	stop, _ := b.member(t, s)
	b.send(t, all...)
	stop()
	for _, at := range []int{1, 2, 7} {
		reached := make(chan struct{})
		var once atomic.Bool
		s.mu.Lock()
		begun := s.calls
		s.after = func(_ string, calls int) error {
			if calls-begun < at {
				return nil
			}
			if !once.Swap(true) {
				close(reached)
			}
			return entity.ErrTimeout // its answer is lost, and all later ones
		}
		s.mu.Unlock()
		stop, _ := b.member(t, s)
		select {
		case <-reached:
		case <-time.After(time.Minute):
			t.Fatalf("the member that ends at its call %d never got there", at)
		}
		stop()
	}
	s.mu.Lock()
	s.after = nil
	s.mu.Unlock()
	last, _ := b.member(t, s)
	for i := range 4 {
		id := fmt.Sprintf("%s-%d", source, i)
		eventually(t, id, func() bool { return len(s.done(id)) >= commands/4 })
	}
	b.settled(t)
	last()
	for i := range 4 {
		got := s.done(fmt.Sprintf("%s-%d", source, i))
		if len(got) != commands/4 || !slices.IsSorted(got) {
			t.Errorf("SKU %d: %v", i, got)
		}
	}
	// One who comes now has nothing to do.
	before := s.callsSoFar()
	idle, _ := b.member(t, s)
	b.send(t, adjust(source, "one more", source+"-idle", 1))
	eventually(t, "one more", func() bool { return len(s.done(source+"-idle")) == 1 })
	b.settled(t)
	idle()
	if n := s.callsSoFar() - before; n != 1 {
		t.Errorf("%d calls for one command", n)
	}
}

func (s *shop) callsSoFar() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

// A SKU that cannot be asked keeps its commands, and is no reason to bury them.
func (b *brokerSuite) faults(t *testing.T) {
	s, source := newShop(), unique(t)
	bad, corrupt := source+"-bad", source+"-corrupt"
	tries := 0
	s.before = func(id string, _ int) error {
		switch id {
		case bad:
			if tries++; tries <= 5 {
				return []error{entity.ErrUnavailable, entity.ErrOverloaded, entity.ErrFenced, entity.ErrRetry, entity.ErrTimeout}[tries-1]
			}
		case corrupt:
			return &entity.CorruptError{Stream: "sku/" + id, Seq: 1, Reason: "checksum"}
		}
		return nil
	}
	s.after = func(id string, _ int) error {
		if id == bad && tries == 6 {
			tries++
			return entity.ErrUnknownOutcome // done, and nobody knows
		}
		return nil
	}
	stop, registry := b.member(t, s)
	b.send(t, adjust(source, "1", bad, 1), adjust(source, "2", bad, 1), adjust(source, "3", corrupt, 1), adjust(source, "4", source+"-good", 1))
	eventually(t, "all", func() bool { return len(s.done(bad)) >= 2 && len(s.done(source+"-good")) == 1 })
	letters := b.letters(t, source, 1)
	b.settled(t)
	stop()
	if got := s.done(bad); !slices.Equal(got, []string{"1", "2"}) {
		t.Errorf("done: %v", got)
	}
	if letters["3"][inbound.HeaderReason] != "INTERNAL" {
		t.Errorf("dead letters: %v", letters)
	}
	if n := sum(t, registry, "stampede_commands_retries_total"); n < 6 {
		t.Errorf("%v retries", n)
	}
}

// letters reads the dead letters of a source, by ce_id, until there are n.
func (b *brokerSuite) letters(t *testing.T, source string, n int) map[string]map[string]string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	found := make(chan map[string]string)
	for p := range inbound.Partitions {
		r := kafka.NewReader(kafka.ReaderConfig{Brokers: []string{b.addr}, Topic: inbound.TopicDead, Partition: p, MaxWait: 50 * time.Millisecond})
		go func() {
			defer r.Close()
			for {
				m, err := r.ReadMessage(ctx)
				if err != nil {
					return
				}
				h := map[string]string{}
				for _, one := range m.Headers {
					h[one.Key] = string(one.Value)
				}
				if h["ce_source"] == source {
					select {
					case found <- h:
					case <-ctx.Done():
						return
					}
				}
			}
		}()
	}
	out := map[string]map[string]string{}
	for len(out) < n {
		select {
		case h := <-found:
			out[h["ce_id"]] = h
		case <-ctx.Done():
			t.Fatalf("%d of %d dead letters: %v", len(out), n, out)
		}
	}
	return out
}

func sum(t *testing.T, registry *prometheus.Registry, name string) (total float64) {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			for _, m := range f.Metric {
				total += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return total
}

// A broker that is killed and comes back loses no command and does none twice.
func TestBrokerRestarts(t *testing.T) {
	if testing.Short() {
		t.Skip("a Kafka of its own, killed")
	}
	k := testservers.KafkaProcess(t)
	b := &brokerSuite{addr: k.Address()}
	s, source := newShop(), unique(t)
	stop, _ := b.member(t, s)
	sent := 0
	send := func(n int) {
		var all []kafka.Message
		for range n {
			all = append(all, adjust(source, fmt.Sprintf("%03d", sent), fmt.Sprintf("%s-%d", source, sent%5), 1))
			sent++
		}
		b.send(t, all...)
	}
	total := func() (n int) {
		for i := range 5 {
			n += len(s.done(fmt.Sprintf("%s-%d", source, i)))
		}
		return n
	}
	send(50)
	eventually(t, "some", func() bool { return total() > 0 })
	k.Kill()
	k.Restart()
	send(50)
	eventually(t, "all", func() bool { return total() >= sent })
	stop()
	for i := range 5 {
		got := s.done(fmt.Sprintf("%s-%d", source, i))
		if len(got) != sent/5 || !slices.IsSorted(got) {
			t.Errorf("SKU %d: %v", i, got)
		}
	}
}

func TestConfig(t *testing.T) {
	if _, err := inbound.New(inbound.Config{}); err == nil {
		t.Error("took nothing for a configuration")
	}
}
