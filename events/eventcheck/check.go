// Package eventcheck compares what is on the topics with the journal: what
// consumers are promised, checked as a consumer could not, who does not know
// what there should be. It is for tests; it changes nothing.
//
// Checked is that every event of every stream is there; that first occurrences
// of a key come in order without a gap; that repeats are the same to the byte;
// that nothing is there that the journal does not hold; that each message is in
// the partition where the Java client would put its key; and that the last
// level of every SKU is its newest.
package eventcheck

import (
	"cmp"
	"fmt"
	"hash/maphash"
	"slices"

	"stampede/actors/entity"
	"stampede/events/cloudevents"
)

// Message is a message as it was consumed.
type Message struct {
	Topic      string
	Partition  int
	Partitions int // that the topic has
	Key        string
	// Value is empty of a tombstone.
	Value   []byte
	Headers []cloudevents.Header
}

// Header is the value of a header; empty: it has none.
func (m *Message) Header(key string) string {
	for _, h := range m.Headers {
		if h.Key == key {
			return h.Value
		}
	}
	return ""
}

// Rule is a promise that can be broken.
type Rule string

const (
	Missing        Rule = "missing"
	Unknown        Rule = "not in the journal"
	OutOfOrder     Rule = "out of order"
	Different      Rule = "different from the journal's"
	TooOften       Rule = "repeated too often"
	WrongPartition Rule = "in the wrong partition"
	StaleLevel     Rule = "not the newest level"
)

// Fault is a promise that was broken, and by what.
type Fault struct {
	Rule   Rule
	Topic  string
	Key    string
	Detail string
}

func (f Fault) String() string {
	return fmt.Sprintf("%s, %s: %s: %s", f.Topic, f.Key, f.Rule, f.Detail)
}

// maxFaults bounds what is kept of them: the first are what helps.
const maxFaults = 100

// Checker checks one set of topics. It keeps some dozens of bytes an event, and
// belongs to one goroutine.
type Checker struct {
	// Times bounds how often one event may be there; 0: any number.
	Times int
	// MayLack are headers that a message may be without, and with another value:
	// those that a release did not yet write whose messages are among them.
	MayLack []string

	mapper *cloudevents.Mapper
	seed   maphash.Seed
	events map[eventID]*event
	keys   map[place]*key
	levels map[place]*levels
	faults []Fault
	more   int
	// sorted: every key's events are in order of version.
	sorted bool
}

// eventID is unique: levels, which share ids with events, are kept apart.
type eventID struct{ topic, id string }

type place struct{ topic, key string }

// event is one that is expected.
type event struct {
	id      string
	version uint64
	key     *key
	index   int
	sum     uint64
	times   int
}

// key is the events of one key, in order; those before next have been seen.
type key struct {
	events []*event
	next   int
}

// levels are those that a SKU has had, by sequence.
type levels struct {
	sums   map[string]uint64
	newest string
	last   string
}

// New returns a checker of what mapper publishes.
func New(mapper *cloudevents.Mapper) *Checker {
	return &Checker{
		mapper: mapper, seed: maphash.MakeSeed(),
		events: make(map[eventID]*event), keys: make(map[place]*key), levels: make(map[place]*levels),
	}
}

// Expect adds records of the journal, in any order, before anything is consumed.
func (c *Checker) Expect(records ...*entity.Record) error {
	var messages []cloudevents.Message
	for _, rec := range records {
		var err error
		if messages, err = c.mapper.Map(messages[:0], rec); err != nil {
			return err
		}
		for i := range messages {
			c.expect(&messages[i])
		}
	}
	return nil
}

// Expected counts the events that are expected, levels not included.
func (c *Checker) Expected() int { return len(c.events) }

func (c *Checker) expect(m *cloudevents.Message) {
	want := Message{Topic: m.Topic, Key: m.Key, Value: m.Value, Headers: m.Headers}
	at, sum := place{m.Topic, m.Key}, c.sum(&want)
	if compacted(m.Topic) {
		l := c.levels[at]
		if l == nil {
			l = &levels{sums: make(map[string]uint64)}
			c.levels[at] = l
		}
		sequence := want.Header("ce_sequence")
		l.newest = max(l.newest, sequence)
		l.sums[sequence] = sum
		return
	}
	k := c.keys[at]
	if k == nil {
		k = &key{}
		c.keys[at] = k
	}
	id := want.Header("ce_id")
	e := &event{id: id, version: m.Version, key: k, sum: sum}
	k.events = append(k.events, e)
	c.events[eventID{m.Topic, id}] = e
}

func compacted(topic string) bool {
	for _, t := range cloudevents.Topics() {
		if t.Name == topic {
			return t.Compacted
		}
	}
	return false
}

// sum is of everything that a message must have the same as the journal's.
func (c *Checker) sum(m *Message) uint64 {
	var h maphash.Hash
	h.SetSeed(c.seed)
	text := func(s string) {
		maphash.WriteComparable(&h, len(s))
		_, _ = h.WriteString(s) // a hash takes everything
	}
	text(m.Key)
	text(string(m.Value))
	for _, header := range m.Headers {
		if !slices.Contains(c.MayLack, header.Key) {
			text(header.Key)
			text(header.Value)
		}
	}
	return h.Sum64()
}

// sort puts every key's events in order of version.
func (c *Checker) sort() {
	if c.sorted {
		return
	}
	c.sorted = true
	for _, k := range c.keys {
		slices.SortFunc(k.events, func(a, b *event) int { return cmp.Compare(a.version, b.version) })
		for i, e := range k.events {
			e.index = i
		}
	}
}

// Consume takes in a message. Those of one partition come in its order.
func (c *Checker) Consume(m Message) {
	c.sort()
	if want := Partition(m.Key, m.Partitions); want != m.Partition {
		c.fault(WrongPartition, &m, fmt.Sprintf("%s is in %d of %d, the Java client puts it into %d", m.Header("ce_id"), m.Partition, m.Partitions, want))
	}
	if compacted(m.Topic) {
		c.level(&m)
		return
	}
	id := m.Header("ce_id")
	e := c.events[eventID{m.Topic, id}]
	if e == nil || e.key != c.keys[place{m.Topic, m.Key}] {
		c.fault(Unknown, &m, fmt.Sprintf("id %q", id))
		return
	}
	if c.sum(&m) != e.sum {
		c.fault(Different, &m, fmt.Sprintf("%s is %q with %v", id, m.Value, m.Headers))
	}
	switch e.times++; {
	case e.times > 1 && c.Times > 0 && e.times == c.Times+1:
		c.fault(TooOften, &m, fmt.Sprintf("%s is there more than %d times", id, c.Times))
	case e.times == 1 && e.index != e.key.next:
		c.fault(OutOfOrder, &m, fmt.Sprintf("%s comes where %s should", id, e.key.events[e.key.next].id))
	}
	for e.key.next < len(e.key.events) && e.key.events[e.key.next].times > 0 {
		e.key.next++
	}
}

func (c *Checker) level(m *Message) {
	l, sequence := c.levels[place{m.Topic, m.Key}], m.Header("ce_sequence")
	if l == nil {
		c.fault(Unknown, m, fmt.Sprintf("a level of version %s", sequence))
		return
	}
	l.last = sequence
	switch sum, known := l.sums[sequence]; {
	case !known:
		c.fault(Unknown, m, fmt.Sprintf("a level of version %s", sequence))
	case sum != c.sum(m):
		c.fault(Different, m, fmt.Sprintf("the level of version %s is %q with %v", sequence, m.Value, m.Headers))
	}
}

// Done returns the faults, once everything was consumed.
func (c *Checker) Done() []Fault {
	c.sort()
	for at, k := range c.keys {
		for _, e := range k.events {
			if e.times == 0 {
				c.fault(Missing, &Message{Topic: at.topic, Key: at.key}, e.id)
			}
		}
	}
	for at, l := range c.levels {
		if l.last != l.newest {
			c.fault(StaleLevel, &Message{Topic: at.topic, Key: at.key}, fmt.Sprintf("the last is of version %q, the newest is %q", l.last, l.newest))
		}
	}
	faults := slices.Clone(c.faults)
	if c.more > 0 {
		faults = append(faults, Fault{Rule: "and more", Detail: fmt.Sprintf("%d of them", c.more)})
	}
	return faults
}

func (c *Checker) fault(rule Rule, m *Message, detail string) {
	if len(c.faults) >= maxFaults {
		c.more++
		return
	}
	c.faults = append(c.faults, Fault{Rule: rule, Topic: m.Topic, Key: m.Key, Detail: detail})
}
