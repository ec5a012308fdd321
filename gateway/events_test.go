package gateway_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"stampede/actors/entity"
	"stampede/gateway"
	"stampede/gateway/resolve"
)

// fakeEvents is what is published, and notes what is asked for.
type fakeEvents struct {
	asked resolve.Replay
	n     int
	done  bool
	err   error
}

func (f *fakeEvents) Outbox(context.Context) ([]resolve.TopicStatus, error) {
	return []resolve.TopicStatus{{Topic: "stampede.orders.v1", Pending: 7, Oldest: 1500 * time.Millisecond, Published: 1 << 40}}, nil
}

func (f *fakeEvents) Replay(_ context.Context, what resolve.Replay) (int, bool, error) {
	f.asked = what
	return f.n, f.done, f.err
}

const replay = `mutation($i:ReplayEventsInput!){replayEvents(input:$i){republished userErrors{code message field ...on RetryLater{retryAfterMs}}}}`

func TestOutboxAndReplay(t *testing.T) {
	events := &fakeEvents{n: 12, done: true}
	w := newWorld(t, func(c *gateway.Config) { c.Events = events })
	if a := w.ask(asOp, `{outbox{topic pending oldestMs published}}`, nil); !strings.Contains(a.text, `{"topic":"stampede.orders.v1","pending":7,"oldestMs":1500,"published":2147483647}`) {
		t.Error(a.text)
	}
	for _, who := range []string{"", asAlice, asStaff} {
		if a := w.ask(who, `{outbox{topic}}`, nil); len(a.Errors) == 0 {
			t.Errorf("%q may see the outbox: %s", who, a.text)
		}
		if a := w.ask(who, replay, map[string]any{"i": map[string]any{"kind": "order"}}); len(a.Errors) == 0 || events.asked.Kind != "" {
			t.Errorf("%q may replay: %s", who, a.text)
		}
	}
	input := map[string]any{"kind": "sku", "key": "MUG", "fromVersion": 5, "since": "2026-11-23T15:00:00Z"}
	a := w.ask(asOp, replay, map[string]any{"i": input})
	if want := (resolve.Replay{Kind: "sku", Key: "MUG", FromVersion: 5, SinceMs: time.Date(2026, 11, 23, 15, 0, 0, 0, time.UTC).UnixMilli()}); events.asked != want || !strings.Contains(a.text, `"republished":12,"userErrors":[]`) {
		t.Errorf("%+v, %s", events.asked, a.text)
	}
	for _, c := range []struct {
		name, want string
		input      map[string]any
		answer     fakeEvents
	}{
		{"goes on", `"republished":12,"userErrors":[{"code":"IN_PROGRESS"`, map[string]any{"kind": "order"}, fakeEvents{n: 12}},
		{"too many", `"code":"THROTTLED"`, map[string]any{"kind": "order"}, fakeEvents{err: entity.ErrOverloaded}},
		{"fails", `"code":"INTERNAL"`, map[string]any{"kind": "order"}, fakeEvents{err: errors.New("disk")}},
		{"no such kind", `"field":["kind"]`, map[string]any{"kind": "roster"}, fakeEvents{}},
		{"no version", `"field":["fromVersion"]`, map[string]any{"kind": "order", "fromVersion": 0}, fakeEvents{}},
		{"no key", `"field":["key"]`, map[string]any{"kind": "order", "key": ""}, fakeEvents{}},
	} {
		*events = c.answer
		if a := w.ask(asOp, replay, map[string]any{"i": c.input}); !strings.Contains(a.text, c.want) {
			t.Errorf("%s: %s", c.name, a.text)
		}
	}
	w = newWorld(t, func(c *gateway.Config) { c.Events = nil })
	if a := w.ask(asOp, replay, map[string]any{"i": map[string]any{"kind": "order"}}); !strings.Contains(a.text, `"code":"CONFLICT"`) {
		t.Errorf("a node that publishes nothing: %s", a.text)
	}
}
