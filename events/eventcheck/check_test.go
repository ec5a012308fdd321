package eventcheck

import (
	"slices"
	"testing"

	"stampede/actors/entity"
	"stampede/events/cloudevents"
	"stampede/events/internal/logtest"
)

const partitions = 12

// publish is what a publisher without faults would have put onto the topics.
func publish(t *testing.T, records []*entity.Record) []Message {
	t.Helper()
	mapper := cloudevents.NewMapper(cloudevents.JSON, "")
	var out []Message
	for _, rec := range records {
		messages, err := mapper.Map(nil, rec)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range messages {
			out = append(out, Message{
				Topic: m.Topic, Partition: Partition(m.Key, partitions), Partitions: partitions, Key: m.Key,
				Value: m.Value, Headers: slices.Clone(m.Headers),
			})
		}
	}
	return out
}

// at is the index of the nth message of a topic, and of the one of its key
// that comes after it, if there is one.
func at(t *testing.T, messages []Message, topic string) (first, second int) {
	t.Helper()
	for i, m := range messages {
		if m.Topic != topic {
			continue
		}
		for k := i + 1; k < len(messages); k++ {
			if messages[k].Topic == topic && messages[k].Key == m.Key {
				return i, k
			}
		}
	}
	t.Fatalf("no key with two messages on %s", topic)
	return 0, 0
}

// TestWhatIsBrokenIsFound: whatever is done to what was published, the check
// names it; and it has nothing to say of what is allowed.
func TestWhatIsBrokenIsFound(t *testing.T) {
	j := logtest.NewJournal(1)
	logtest.NewShop(j, 5, 4).Trade(1, 200)
	records := j.Records(1)
	whole := publish(t, records)
	for name, c := range map[string]struct {
		doctor func([]Message) []Message
		want   []Rule
	}{
		"nothing":               {func(m []Message) []Message { return m }, nil},
		"all of it twice":       {func(m []Message) []Message { return append(m, m...) }, nil},
		"all of it three times": {func(m []Message) []Message { return append(append(m, m...), m...) }, []Rule{TooOften}},
		"one lost in the middle": {func(m []Message) []Message {
			i, _ := at(t, m, cloudevents.TopicOrders)
			return slices.Delete(m, i, i+1)
		}, []Rule{Missing, OutOfOrder}},
		"the last one lost": {func(m []Message) []Message {
			last := 0
			for i := range m {
				if m[i].Topic == cloudevents.TopicOrders {
					last = i
				}
			}
			return slices.Delete(m, last, last+1)
		}, []Rule{Missing}},
		"a topic lost": {func(m []Message) []Message {
			return slices.DeleteFunc(m, func(m Message) bool { return m.Topic == cloudevents.TopicAccounts })
		}, []Rule{Missing}},
		"two exchanged": {func(m []Message) []Message {
			i, k := at(t, m, cloudevents.TopicStock)
			m[i], m[k] = m[k], m[i]
			return m
		}, []Rule{OutOfOrder}},
		"a repeat with other data": {func(m []Message) []Message {
			i, _ := at(t, m, cloudevents.TopicOrders)
			again := m[i]
			again.Value = append(slices.Clone(again.Value), ' ')
			return append(m, again)
		}, []Rule{Different}},
		"a repeat under another id": {func(m []Message) []Message {
			i, _ := at(t, m, cloudevents.TopicOrders)
			return append(m, withHeader(m[i], "ce_id", "order/again/1"))
		}, []Rule{Unknown}},
		"another sequence": {func(m []Message) []Message {
			i, _ := at(t, m, cloudevents.TopicStock)
			m[i] = withHeader(m[i], "ce_sequence", "00000000000000000099")
			return m
		}, []Rule{Different}},
		"under another's key": {func(m []Message) []Message {
			i, _ := at(t, m, cloudevents.TopicOrders)
			again := m[i]
			again.Key = "ord_other"
			again.Partition = Partition(again.Key, partitions)
			return append(m, again)
		}, []Rule{Unknown}},
		"in another partition": {func(m []Message) []Message {
			i, _ := at(t, m, cloudevents.TopicOrders)
			m[i].Partition = (m[i].Partition + 1) % partitions
			return m
		}, []Rule{WrongPartition}},
		"an older level last": {func(m []Message) []Message {
			i, _ := at(t, m, cloudevents.TopicStockLevels)
			return append(m, m[i])
		}, []Rule{StaleLevel}},
		"levels left out": {func(m []Message) []Message {
			i, _ := at(t, m, cloudevents.TopicStockLevels)
			return slices.Delete(m, i, i+1)
		}, nil},
		"a level with other data": {func(m []Message) []Message {
			i, _ := at(t, m, cloudevents.TopicStockLevels)
			m[i].Value = []byte("{}")
			return m
		}, []Rule{Different}},
		"a level of nothing": {func(m []Message) []Message {
			i, _ := at(t, m, cloudevents.TopicStockLevels)
			m[i] = withHeader(m[i], "ce_sequence", "00000000000000099999")
			return m
		}, []Rule{Unknown}},
		"no level": {func(m []Message) []Message {
			return slices.DeleteFunc(m, func(m Message) bool { return m.Topic == cloudevents.TopicStockLevels })
		}, []Rule{StaleLevel}},
	} {
		t.Run(name, func(t *testing.T) {
			checker := New(cloudevents.NewMapper(cloudevents.JSON, ""))
			checker.Times = 2
			if err := checker.Expect(records...); err != nil {
				t.Fatal(err)
			}
			for _, m := range c.doctor(slices.Clone(whole)) {
				checker.Consume(m)
			}
			faults := checker.Done()
			var got []Rule
			for _, f := range faults {
				if f.Rule != "and more" {
					got = append(got, f.Rule)
				}
			}
			slices.Sort(got)
			if got = slices.Compact(got); !slices.Equal(got, c.want) {
				t.Errorf("found %v, want %v: %v", got, c.want, faults[:min(len(faults), 5)])
			}
		})
	}
}

// TestMessagesOfAnEarlierRelease: one header less is forgiven where it may be
// lacking, and nothing else.
func TestMessagesOfAnEarlierRelease(t *testing.T) {
	j := logtest.NewJournal(1)
	logtest.NewShop(j, 5, 4).Trade(1, 200)
	records := j.Records(1)
	whole := publish(t, records)
	i, _ := at(t, whole, cloudevents.TopicStockLevels)
	const lacking = "ce_time"
	older := slices.Clone(whole)
	older[i].Headers = slices.DeleteFunc(slices.Clone(older[i].Headers), func(h cloudevents.Header) bool { return h.Key == lacking })
	for name, c := range map[string]struct {
		mayLack  []string
		messages []Message
		want     int
	}{
		"a header less":             {nil, older, 1},
		"a header that may lack":    {[]string{lacking}, older, 0},
		"another that may lack":     {[]string{"ce_type"}, older, 1},
		"and other data with it":    {[]string{lacking}, append(slices.Clone(older), withHeader(whole[i], "ce_type", "Other")), 1},
		"everything as it is today": {[]string{lacking}, whole, 0},
	} {
		t.Run(name, func(t *testing.T) {
			checker := New(cloudevents.NewMapper(cloudevents.JSON, ""))
			checker.MayLack = c.mayLack
			if err := checker.Expect(records...); err != nil {
				t.Fatal(err)
			}
			for _, m := range c.messages {
				checker.Consume(m)
			}
			if faults := checker.Done(); countOf(faults, Different) != c.want {
				t.Errorf("faults are %v, want %d messages that differ", faults, c.want)
			}
		})
	}
}

func countOf(faults []Fault, rule Rule) (n int) {
	for _, f := range faults {
		if f.Rule == rule {
			n++
		}
	}
	return n
}

func withHeader(m Message, key, value string) Message {
	m.Headers = slices.Clone(m.Headers)
	for i := range m.Headers {
		if m.Headers[i].Key == key {
			m.Headers[i].Value = value
		}
	}
	return m
}

// TestRecordsThatCannotBeMappedAreSaid: a check that expects less than there
// should be would be worth nothing.
func TestRecordsThatCannotBeMappedAreSaid(t *testing.T) {
	if err := New(cloudevents.NewMapper(cloudevents.JSON, "")).Expect(&entity.Record{Kind: "order", ID: "x", Events: []byte("?")}); err == nil {
		t.Error("a corrupt record is expected as nothing")
	}
}
