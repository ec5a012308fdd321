package proof

import (
	"maps"
	"slices"

	"stampede/cmd/stampede/internal/shop"
)

// stream is what the consumer saw of one key of one topic.
type stream struct {
	// newest is the highest sequence that came in order: 1 … newest were all seen.
	newest int64
	ids    map[int64]string
	broken bool
}

// checkEvents holds what the consumer group read against what the shoppers
// were told. First occurrences must be 1, 2, 3, … for each key; repetitions of
// what was seen are allowed and must carry the same id.
func (p *prover) checkEvents() {
	reserved := map[string]bool{} // orders by OrderReserved
	taken := map[string]*Event{}  // StockReserved by order id
	streams := map[[2]string]*stream{}
	for i := range p.h.Events {
		e := &p.h.Events[i]
		if !p.concerns(e) {
			continue
		}
		p.v.EventsSeen++
		if !p.follow(streams, e) {
			p.v.EventsRepeated++
			continue
		}
		switch {
		case e.Topic == OrdersTopic && e.Type == orderReserved:
			reserved[e.Key] = true
		case e.Topic == StockTopic && e.Type == stockReserved:
			taken[e.OrderID] = e
		}
	}
	p.checkPublished(reserved, taken)
	p.checkNewestLevels(streams)
}

// concerns reports whether an event is of this sale: the broker may hold the
// events of others.
func (p *prover) concerns(e *Event) bool {
	if e.Topic == StockTopic {
		_, ours := p.h.Units[e.Key]
		return ours
	}
	return p.orders[e.Key] != nil
}

// follow adds an event to its stream and reports whether it is new.
func (p *prover) follow(streams map[[2]string]*stream, e *Event) bool {
	name := [2]string{e.Topic, e.Key}
	s := streams[name]
	if s == nil {
		s = &stream{ids: map[int64]string{}}
		streams[name] = s
	}
	if id, seen := s.ids[e.Sequence]; seen {
		if id != e.ID {
			p.violated("%s %s: sequence %d was published as %s and as %s", e.Topic, e.Key, e.Sequence, id, e.ID)
		}
		return false
	}
	s.ids[e.Sequence] = e.ID
	if e.Sequence != s.newest+1 && !s.broken {
		s.broken = true // one report a stream: everything after a gap is out of place
		p.v.EventsMissing++
		p.violated("%s %s: sequence %d came after %d", e.Topic, e.Key, e.Sequence, s.newest)
	}
	s.newest = max(s.newest, e.Sequence)
	return true
}

// checkPublished looks for accepted orders without events, for events that say
// something else than the shopper was told, and for reservations that nobody
// was told of.
func (p *prover) checkPublished(reserved map[string]bool, taken map[string]*Event) {
	for _, id := range sortedKeys(p.orders) {
		a := p.orders[id]
		if !reserved[id] {
			p.v.EventsMissing++
			p.violated("order %s was acknowledged, but its OrderReserved was not published", id)
		}
		e := taken[id]
		if e == nil {
			p.v.EventsMissing++
			p.violated("order %s was acknowledged, but its StockReserved was not published", id)
			continue
		}
		if version, _ := versionOf(a); e.Key != a.SKU || e.Sequence != version || e.Quantity != a.Quantity {
			p.violated("order %s was acknowledged version %d of %s, but its event says %d units at version %d of %s",
				id, version, a.SKU, e.Quantity, e.Sequence, e.Key)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(taken)) {
		if p.orders[id] == nil {
			p.v.Phantoms++
			p.violated("order %s holds units of %s, but nobody was told so", id, taken[id].Key)
		}
	}
}

// checkNewestLevels compares the last level of each SKU's events with the one
// that the API answers.
func (p *prover) checkNewestLevels(streams map[[2]string]*stream) {
	newest := map[string]*shop.Level{}
	for i := range p.h.Events {
		e := &p.h.Events[i]
		if e.Topic == StockTopic && e.Level != nil && p.concerns(e) && (newest[e.Key] == nil || newest[e.Key].Version <= e.Level.Version) {
			newest[e.Key] = e.Level
		}
	}
	for _, sku := range slices.Sorted(maps.Keys(p.h.Units)) {
		level, ok := p.h.Levels[sku]
		if !ok {
			continue // reported with conservation
		}
		if s := streams[[2]string{StockTopic, sku}]; s == nil || s.newest < level.Version {
			p.v.EventsMissing++
			p.violated("%s: its stock is at version %d, but events came only up to version %d", sku, level.Version, newestOf(s))
			continue
		}
		if published := newest[sku]; published != nil && *published != level {
			p.violated("%s: the last event says %+v, the API says %+v", sku, *published, level)
		}
	}
}

func newestOf(s *stream) int64 {
	if s == nil {
		return 0
	}
	return s.newest
}
