package e2e

// SIGKILL between the two halves of publishing: the broker has acknowledged the
// events, and the watermark that says so is not saved. Nothing in the program
// helps: the test itself holds the write lock of the file that the watermarks are
// in, while orders, whose journal is another file, go on. The next process must
// publish once more what lies behind the watermark, and nothing else.

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"stampede/events/cloudevents"
	"stampede/events/eventcheck"
	"stampede/internal/testservers"
)

func TestKilledBetweenSendAndWatermark(t *testing.T) {
	t.Run("embedded", func(t *testing.T) {
		t.Parallel()
		killBetweenSendAndWatermark(t)
	})
	t.Run("Kafka", func(t *testing.T) {
		if testing.Short() {
			t.Skip("starts a Kafka")
		}
		t.Parallel()
		// One of its own: everything on the topics is compared with one journal.
		killBetweenSendAndWatermark(t, "--kafka="+testservers.KafkaProcess(t).Address())
	})
}

const (
	sentOrders = 12
	// sentClients adjust stock while the process is killed, after so many answers.
	sentClients = 4
	sentAnswers = 8
)

var sentStock = []variant{{"SENT-1", "10.00", 5000}, {"SENT-2", "0.50", 5000}, {"SENT-3", "99.00", 5000}}

func killBetweenSendAndWatermark(t *testing.T, flags ...string) {
	random := randomness(t)
	dir := t.TempDir()
	s := serve(t, dir, flags...)
	sh := openShop(t, s, 2, sentStock...)
	for round := range *rounds {
		saveAgain := holdWatermarks(t, dir)
		orders := sellAndRegister(t, sh, round)
		eventually(t, soon, "everything is acknowledged by the broker", func() error { return nothingPending(t, s) })
		sent := onTopics(t, s.kafka)
		for _, id := range orders {
			if !slices.ContainsFunc(sent, func(m eventcheck.Message) bool { return m.Key == id && m.Header("ce_type") == "OrderReserved" }) {
				t.Fatalf("order %s is acknowledged and not on its topic", id)
			}
		}
		killInMidTraffic(t, s, sh, round, random)
		left := readLeft(t, dir)
		saveAgain()
		again := left.behindWatermarks(t, sent)

		s = serve(t, dir, flags...)
		sh.at.set(s)
		eventually(t, soon, "the topics are as the journal says", func() error { return left.published(t, s.kafka, sent, again) })
		t.Logf("round %d: of %d events on the topics %d lay behind the watermarks and came again", round, len(sent), len(again))
	}
	s.stop()
}

// holdWatermarks keeps the server from saving watermarks, until what it returns
// is called. It waits 10 s for the lock, and tries again.
func holdWatermarks(t *testing.T, dir string) (release func()) {
	t.Helper()
	const file = "cache.db"
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, file)+"?_txlock=immediate&_pragma=busy_timeout(10000)")
	if err != nil {
		t.Fatal(err)
	}
	tx, err := db.BeginTx(context.Background(), nil) // it outlives a failed test's context
	if err != nil {
		t.Fatal(errors.Join(err, db.Close()))
	}
	release = func() {
		if err := tx.Rollback(); err != nil && !errors.Is(err, sql.ErrTxDone) {
			t.Errorf("%s: %v", file, err)
		}
		if err := db.Close(); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
	t.Cleanup(release)
	return release
}

// sellAndRegister gives each of the publisher's groups of topics something to
// send, and returns the orders.
func sellAndRegister(t *testing.T, sh *shop, round int) (ids []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	for i := range sentOrders {
		o, err := settle(ctx, func() (*order, error) {
			return sh.customers[i%2].place(ctx, fmt.Sprintf("sent-%d-%d", round, i), "", want{sentStock[i%3].sku, 1}, want{sentStock[(i+1)%3].sku, 2})
		})
		if err != nil || o.State != "RESERVED" {
			t.Fatal(unexpected("placing an order", o, err))
		}
		ids = append(ids, o.ID)
	}
	who := newClient(sh.at, "")
	if _, err := settle(ctx, func() (session, error) {
		return who.register(ctx, fmt.Sprintf("late%d@mail.test", round), "nine noisy newts")
	}); err != nil {
		t.Fatal(err)
	}
	return ids
}

// nothingPending: the broker has acknowledged all that is committed.
func nothingPending(t *testing.T, s *server) error {
	t.Helper()
	_, metrics := get(t, s.admin+"/metrics")
	topics := 0
	for line := range strings.SplitSeq(metrics, "\n") {
		if !strings.HasPrefix(line, "stampede_events_pending{") {
			continue
		}
		topics++
		if !strings.HasSuffix(line, " 0") {
			return errors.New(line)
		}
	}
	if topics != len(cloudevents.Topics()) {
		return fmt.Errorf("%d topics say what is pending, not %d", topics, len(cloudevents.Topics()))
	}
	return nil
}

// onTopics is everything that the broker has, repeats included.
func onTopics(t *testing.T, broker string) (all []eventcheck.Message) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	for _, topic := range cloudevents.Topics() {
		some, err := eventcheck.Read(ctx, broker, topic.Name, "")
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, some...)
	}
	return all
}

// killInMidTraffic kills the server while stock is adjusted, some of which is
// sent by then and some of which is not. Each adjustment is one record of one
// actor, so the next process has nothing to finish but the publishing.
func killInMidTraffic(t *testing.T, s *server, sh *shop, round int, random *rand.Rand) {
	t.Helper()
	var answers atomic.Int64
	enough := make(chan struct{})
	over := make(chan struct{})
	go func() {
		defer close(over)
		together(t, sentClients, random, func(ctx context.Context, client int, _ *rand.Rand) error {
			for n := 0; ; n++ {
				input := map[string]any{
					"idempotencyKey": fmt.Sprintf("adjust-%d-%d-%d", round, client, n), "sku": sentStock[client%3].sku, "delta": 1, "reason": "counted",
				}
				var payload struct{ Stock *level }
				err := sh.operator.mutate(ctx, "adjustStock", "AdjustStockInput", "stock{sku}", input, &payload)
				switch {
				case errors.Is(err, errUnknown): // it was killed
					return nil
				case errors.Is(err, errLater):
					continue
				case err != nil:
					return err
				}
				if answers.Add(1) == sentAnswers {
					close(enough)
				}
			}
		})
	}()
	select {
	case <-enough:
	case <-over:
		t.Errorf("only %d adjustments were answered", answers.Load())
	}
	s.kill()
	<-over
	if t.Failed() {
		t.FailNow()
	}
}
