package load

import (
	"context"
	"sync"
	"time"

	hdrhistogram "github.com/HdrHistogram/hdrhistogram-go"

	"stampede/cmd/stampede/internal/shop"
)

// Judge reads an answer.
type Judge func(status int, after time.Duration, body []byte) shop.Answer

// Visitor is a user who does one thing after the other, as it sees fit, instead
// of taking tasks from a list. It belongs to one goroutine.
type Visitor struct {
	options Options
	user    user
	second  *Visitor
}

// Visit runs visit for each of o.Concurrency visitors at the same time, each on
// a connection of its own. Judge, Next and Observe of the options are not used.
// The report counts what was done with Do.
func Visit(ctx context.Context, o Options, visit func(context.Context, *Visitor)) (*Report, error) {
	nodes, err := o.targets()
	if err != nil {
		return nil, err
	}
	o.setDefaults()
	started := time.Now()
	all := newCollector()
	var visitors sync.WaitGroup
	for i := range o.Concurrency {
		visitors.Go(func() {
			v := newVisitor(o, wire{nodes: nodes, at: i % len(nodes), timeout: o.Timeout}, all)
			defer v.close()
			visit(ctx, v)
		})
	}
	visitors.Wait()
	all.report.Elapsed = time.Since(started)
	return &all.report, nil
}

func newVisitor(o Options, w wire, all *collector) *Visitor {
	v := &Visitor{options: o}
	v.user = user{options: &v.options, wire: w, all: all}
	return v
}

// Do sends a request until it is answered, and counts it.
func (v *Visitor) Do(ctx context.Context, token string, body []byte, judge Judge) Result {
	result := v.Ask(ctx, token, body, judge)
	v.user.all.waited(result.Answered.Sub(result.Started))
	v.user.all.count(result)
	return result
}

// Ask sends a request until it is answered, and does not count it.
func (v *Visitor) Ask(ctx context.Context, token string, body []byte, judge Judge) Result {
	v.options.Judge = judge
	return v.user.perform(ctx, &Task{Token: token, Body: body})
}

// Second is the visitor's other hand: another connection, for what is done at
// the same time, by one other goroutine.
func (v *Visitor) Second() *Visitor {
	if v.second == nil {
		w := &v.user.wire
		v.second = newVisitor(v.options, wire{nodes: w.nodes, at: w.at, timeout: w.timeout}, v.user.all)
	}
	return v.second
}

func (v *Visitor) close() {
	v.user.wire.close()
	if v.second != nil {
		v.second.close()
	}
}

func newCollector() *collector {
	return &collector{report: Report{
		Latency: hdrhistogram.New(lowestMicros, highestMicros, digits),
		Refused: map[string]int64{}, Failed: map[string]int64{}, Retries: map[string]int64{},
	}}
}

// targets are the nodes to load, taken apart once.
func (o *Options) targets() ([]target, error) {
	nodes := make([]target, 0, 1+len(o.Others))
	for _, base := range append([]string{o.URL}, o.Others...) {
		to, err := parseTarget(base)
		if err != nil {
			return nil, err
		}
		nodes = append(nodes, to)
	}
	return nodes, nil
}

func (o *Options) setDefaults() {
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Second
	}
	if o.Patience == 0 {
		o.Patience = time.Minute
	}
}
