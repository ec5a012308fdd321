package e2e

// What TestKilledBetweenSendAndWatermark finds: the journal and the watermarks as
// the kill left them, and the topics before and after.

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"stampede/actors/entity"
	"stampede/events/cloudevents"
	"stampede/events/eventcheck"
	"stampede/events/publisher"
	"stampede/persistence/sqlite"
)

// left is what a killed process has left in its data directory.
type left struct {
	records []*entity.Record
	// marks are the watermarks, by the group's name.
	marks map[string]map[entity.Epoch]uint64
}

// readLeft reads a copy: the next process finds what the kill left.
func readLeft(t *testing.T, dir string) *left {
	t.Helper()
	look := t.TempDir()
	files, err := filepath.Glob(filepath.Join(dir, "*.db*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err == nil {
			err = os.WriteFile(filepath.Join(look, filepath.Base(file)), data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	store, err := sqlite.Open(t.Context(), look)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if repaired := store.Repaired(); len(repaired) > 0 {
		t.Fatalf("the kill has broken %v", repaired)
	}
	l := &left{marks: map[string]map[entity.Epoch]uint64{}}
	if l.records, err = recordsOf(t.Context(), store); err != nil {
		t.Fatal(err)
	}
	for _, r := range l.records {
		group := publisher.GroupName(r.Kind)
		if l.marks[group] != nil {
			continue
		}
		if l.marks[group], err = store.Watermarks(t.Context(), group); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

// topicEvent tells repeats of one event from others.
type topicEvent struct{ topic, id string }

func timesSeen(messages []eventcheck.Message) map[topicEvent]int {
	times := map[topicEvent]int{}
	for i := range messages {
		times[topicEvent{messages[i].Topic, messages[i].Header("ce_id")}]++
	}
	return times
}

func isCompacted(topic string) bool { return topic == cloudevents.TopicStockLevels }

// behindWatermarks are the events that were on the topics and that no watermark
// covers. Each group of topics must have some, or the kill came at another moment.
func (l *left) behindWatermarks(t *testing.T, sent []eventcheck.Message) map[topicEvent]bool {
	t.Helper()
	mapper, times := cloudevents.NewMapper(cloudevents.JSON, ""), timesSeen(sent)
	again, groups := map[topicEvent]bool{}, map[string]int{}
	for _, r := range l.records {
		group := publisher.GroupName(r.Kind)
		if r.Position <= l.marks[group][r.Epoch] {
			continue
		}
		messages, err := mapper.Map(nil, r)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range messages {
			which := eventcheck.Message{Topic: m.Topic, Headers: m.Headers}
			e := topicEvent{m.Topic, which.Header("ce_id")}
			if !isCompacted(m.Topic) && times[e] > 0 {
				again[e] = true
				groups[group]++
			}
		}
	}
	for _, kind := range []string{"order", "sku", "account"} {
		if groups[publisher.GroupName(kind)] == 0 {
			t.Fatalf("the kill did not come between send and watermark: of kind %s nothing on its topics lies behind %v; behind others: %v", kind, l.marks, groups)
		}
	}
	return again
}

// published compares the topics with the journal, and with what was on them
// before the kill: what lay behind the watermarks has come again, and nothing else.
func (l *left) published(t *testing.T, broker string, sent []eventcheck.Message, again map[topicEvent]bool) error {
	t.Helper()
	now := onTopics(t, broker)
	checker := eventcheck.New(cloudevents.NewMapper(cloudevents.JSON, ""))
	if err := checker.Expect(l.records...); err != nil {
		t.Fatal(err)
	}
	for i := range now {
		checker.Consume(now[i])
	}
	if faults := checker.Done(); len(faults) > 0 {
		return fmt.Errorf("%d faults, the first: %v", len(faults), faults[0])
	}
	before, after := timesSeen(sent), timesSeen(now)
	for e := range before {
		switch more := after[e] - before[e]; {
		case isCompacted(e.topic):
		case again[e] && more < 1:
			return fmt.Errorf("%v lay behind the watermark and was not sent again", e)
		case !again[e] && more != 0:
			return fmt.Errorf("%v was below the watermark and was sent %d times more", e, more)
		}
	}
	return nil
}
