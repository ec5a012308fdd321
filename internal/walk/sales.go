package walk

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"time"
)

const (
	saleFields   = `sale { id version shuffleCommitment state startsAt endsAt items { remaining allocation variant { sku } } }`
	ticketFields = `ticket { id saleId position admissionToken }`
	// seeTicket is how somebody looks at a place.
	seeTicket = `query($id: ID!) { ticket(id: $id) { position admissionToken } }`
	// manyPerSecond lets everybody in who has joined: how fast it goes is tested elsewhere.
	manyPerSecond = 1_000_000
)

func moment(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// aSale is mostly one that is not over.
func (w *Walk) aSale() *sale {
	w.model.tick(w.shop.Now())
	if w.chance(85) {
		if s := pick(w, slices.DeleteFunc(slices.Clone(w.model.sales), func(s *sale) bool { return s.over })); s != nil {
			return s
		}
	}
	return pick(w, w.model.sales)
}

func (w *Walk) createSale() *move {
	now := w.shop.Now().Truncate(time.Millisecond)
	starts := []time.Duration{-time.Hour, 0, 0, 5 * time.Minute, time.Hour}
	s := &sale{
		starts: now.Add(pick(w, starts)), items: map[*sku]saleItem{}, joined: map[string]string{},
		limit: w.random.Int64N(5), room: w.chance(w.rooms),
	}
	s.ends = now.Add(pick(w, []time.Duration{7 * time.Minute, 70 * time.Minute, 500 * time.Minute}))
	want := map[string]bool{}
	if !s.ends.After(s.starts) {
		want["INVALID"] = true
	}
	skus := slices.Clone(w.model.skus)
	w.random.Shuffle(len(skus), func(i, j int) { skus[i], skus[j] = skus[j], skus[i] })
	items := []any{}
	for _, k := range skus[:min(len(skus), 1+w.random.IntN(2))] {
		item := saleItem{price: w.price(), allocation: 1 + w.random.Int64N(8)}
		s.order = append(s.order, k)
		s.items[k] = item
		items = append(items, map[string]any{"sku": k.id, "salePrice": money(item.price), "allocation": item.allocation})
		switch {
		case k.sale != nil:
			want["CONFLICT"] = true
		case k.free(nil) < item.allocation:
			want["INSUFFICIENT_STOCK"] = true
		}
	}
	input := map[string]any{"idempotencyKey": w.key(), "name": "A sale", "startsAt": moment(s.starts), "endsAt": moment(s.ends), "items": items}
	if s.limit > 0 {
		input["perCustomerLimit"] = s.limit
	}
	if s.room {
		input["admission"], input["admitPerSecond"] = "FIRST_COME", manyPerSecond
	}
	if s.room && w.chance(60) {
		input["admission"], s.shuffled = "SHUFFLED_AT_OPENING", true
	}
	m := &move{who: w.staff, field: "createSale", input: input, selection: saleFields, want: want}
	if len(want) > 0 {
		return m
	}
	m.took = func(_ string, payload map[string]any) {
		s.id, s.commitment = text(at(payload, "sale", "id")), text(at(payload, "sale", "shuffleCommitment"))
		s.see(payload)
		w.model.sales = append(w.model.sales, s)
		for _, k := range s.order {
			k.sale, k.taken, k.used = s, 0, nil
		}
	}
	m.again = func() *move {
		again := *m
		again.took = func(_ string, payload map[string]any) {
			if at(payload, "sale", "id") != s.id {
				w.fail("another sale: %v", payload)
			}
		}
		return &again
	}
	m.other = func(input map[string]any) { input["name"] = "Another" }
	return m
}

func (w *Walk) controlSale() *move {
	s := w.aSale()
	if s == nil {
		return nil
	}
	w.model.tick(w.shop.Now())
	input := map[string]any{"id": s.id}
	m := &move{who: w.staff, field: "controlSale", input: input, selection: saleFields}
	scheduled := w.shop.Now().Before(s.starts)
	illegal := func(yes bool) {
		if yes {
			m.want = codes("ILLEGAL_TRANSITION")
		}
	}
	switch n := w.random.IntN(10); {
	case n < 5:
		pause := w.chance(50)
		input["pause"] = pause
		illegal(s.over || scheduled && pause != s.paused)
		m.took = func(string, map[string]any) { s.paused = pause }
	case n < 6:
		input["end"] = true
		m.took = func(string, map[string]any) {
			if !s.over {
				s.end()
			}
		}
	case n < 9:
		ends := w.shop.Now().Add(pick(w, []time.Duration{2 * time.Minute, 20 * time.Minute, 200 * time.Minute})).Truncate(time.Millisecond)
		input["endsAt"] = moment(ends)
		illegal(s.over)
		if !s.over && !ends.After(s.starts) {
			m.want = codes("INVALID")
		}
		m.took = func(string, map[string]any) { s.ends = ends }
	default:
		starts := s.starts.Add(pick(w, []time.Duration{-time.Minute, time.Minute}))
		input["startsAt"] = moment(starts)
		illegal(s.over || !scheduled)
		if m.want == nil && !s.ends.After(starts) {
			m.want = codes("INVALID")
		}
		m.took = func(string, map[string]any) { s.starts = starts }
	}
	if len(m.want) > 0 {
		m.took = nil
		return m
	}
	if w.chance(10) { // somebody else was first
		if _, ends := input["endsAt"]; ends {
			input["ifVersion"], m.want, m.took = s.version+5, codes("CONFLICT"), nil
			return m
		}
	}
	took := m.took
	m.took = func(code string, payload map[string]any) {
		took(code, payload)
		s.see(payload)
	}
	return m
}

// see notes the version that an answer shows.
func (s *sale) see(payload map[string]any) {
	if version, ok := at(payload, "sale", "version").(float64); ok {
		s.version = version
	}
}

func (w *Walk) joinSale() *move {
	s := w.aSale()
	if s == nil {
		return nil
	}
	who := w.person()
	m := &move{who: who, field: "joinSale", input: map[string]any{"saleId": s.id}, selection: ticketFields}
	w.model.tick(w.shop.Now())
	switch {
	case s.over:
		m.want = codes("SALE_ENDED")
	case !s.room:
		m.want = codes("INVALID")
	default:
		m.took = func(_ string, payload map[string]any) {
			id := text(at(payload, "ticket", "id"))
			before, joined := s.joined[who]
			if joined && before != id {
				w.fail("joined twice: %v", payload)
			}
			s.joined[who] = id
			if !joined && w.shop.Now().Before(s.starts) {
				s.early++
			}
			w.comparePlaces(s)
		}
	}
	return m
}

// admission is somebody's token for a sale, "" when they are not let in. To
// somebody else their ticket is not there.
func (w *Walk) admission(s *sale, who string) string {
	id := s.joined[who]
	if id == "" {
		return ""
	}
	for _, other := range w.persons {
		if other == who {
			continue
		}
		if a := w.ask(other, seeTicket, map[string]any{"id": id}); at(a.Data, "ticket") != nil {
			w.fail("somebody else sees the ticket: %v", a)
		}
	}
	token, _ := at(w.ask(who, seeTicket, map[string]any{"id": id}).Data, "ticket", "admissionToken").(string)
	return token
}

// comparePlaces: everybody who has joined a sale has one place of as many as there
// are, and who came before the opening is before everybody who came after.
func (w *Walk) comparePlaces(s *sale) {
	w.t.Helper()
	taken := map[float64]string{}
	for _, who := range w.persons {
		id, joined := s.joined[who]
		if !joined {
			continue
		}
		place, _ := at(w.ask(who, seeTicket, map[string]any{"id": id}).Data, "ticket", "position").(float64)
		if place < 1 || place > float64(len(s.joined)) || taken[place] != "" {
			w.fail("of %d who joined %s, %s has place %v and %s too", len(s.joined), s.id, who, place, taken[place])
		}
		taken[place] = who
	}
}

// compareLot: nobody knows the lot before the opening, and after it everybody can
// see that it is the one that was promised.
func (s *sale) compareLot(got any, now time.Time) string {
	secret, _ := at(got, "shuffleSecret").(string)
	switch {
	case !s.shuffled && (secret != "" || at(got, "shuffleCommitment") != nil):
		return fmt.Sprintf("sale %s has nothing to draw: %v", s.id, got)
	case !s.shuffled:
		return ""
	case at(got, "shuffleCommitment") != s.commitment || len(s.commitment) != 2*sha256.Size:
		return fmt.Sprintf("sale %s promised %s: %v", s.id, s.commitment, got)
	case now.Before(s.starts) && !s.over:
		if secret != "" || at(got, "joinedBeforeOpening") != nil {
			return fmt.Sprintf("sale %s has not opened, and shows its lot: %v", s.id, got)
		}
		return ""
	case secret == "" && s.over: // it ended before it could open
		return ""
	}
	drawn, err := hex.DecodeString(secret)
	if sum := sha256.Sum256(drawn); err != nil || hex.EncodeToString(sum[:]) != s.commitment || text(at(got, "joinedBeforeOpening")) != text(s.early) {
		return fmt.Sprintf("sale %s was joined by %d before it opened: %v", s.id, s.early, got)
	}
	return ""
}
