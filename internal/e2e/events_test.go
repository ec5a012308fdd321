package e2e

// What a consumer of the published events sees: a real client's consumer group
// from the beginning of a topic.

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
)

// published is an event as it came.
type published struct {
	kind     string
	id       string
	sequence string
	headers  map[string]string
	value    string
}

func (p published) String() string { return p.kind + "@" + strings.TrimLeft(p.sequence, "0") }

// consume reads a topic from its beginning, by key, until what was seen is
// enough, which enough says by returning nil.
func consume(t testing.TB, bootstrap, topic string, within time.Duration, enough func(seen map[string][]published) error) map[string][]published {
	t.Helper()
	reader := kafka.NewReader(kafka.ReaderConfig{
		Brokers: strings.Split(bootstrap, ","), Topic: topic, GroupID: "e2e-" + rand.Text(), StartOffset: kafka.FirstOffset,
		MaxWait: 100 * time.Millisecond, RebalanceTimeout: 2 * time.Second, ReadBackoffMin: 10 * time.Millisecond, ReadBackoffMax: 100 * time.Millisecond,
	})
	defer reader.Close()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	seen := map[string][]published{}
	for lacks := enough(seen); lacks != nil; {
		message, err := reader.FetchMessage(ctx)
		if errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("%s: not within %s: %v", topic, within, lacks)
		}
		if err != nil {
			t.Fatalf("%s: %v", topic, err)
		}
		p := published{headers: map[string]string{}, value: string(message.Value)}
		for _, h := range message.Headers {
			p.headers[h.Key] = string(h.Value)
		}
		p.kind, p.id, p.sequence = p.headers["ce_type"], p.headers["ce_id"], p.headers["ce_sequence"]
		key := string(message.Key)
		seen[key] = append(seen[key], p)
		lacks = enough(seen)
	}
	return seen
}

// inOrder: first occurrences have the sequences 1, 2, 3, …; everything else is
// a repeat with the same id and content.
func inOrder(events []published) error {
	first := map[string]published{}
	for _, e := range events {
		if before, repeated := first[e.id]; repeated {
			if before.sequence != e.sequence || before.value != e.value || before.kind != e.kind {
				return fmt.Errorf("%s came twice, and was not the same: %v, %v", e.id, before, e)
			}
			continue
		}
		first[e.id] = e
		if want := fmt.Sprintf("%020d", len(first)); e.sequence != want {
			return fmt.Errorf("%v comes where %s should: %v", e, want, events)
		}
	}
	return nil
}
