// Package load is a closed-loop load generator: a fixed number of users, each
// on a keep-alive connection of its own, each sending its next request when the
// last one was answered. A request that was not decided (overload, a lost
// connection, a restarting server) is sent again with the same bytes, and so
// with the same idempotency key, after the delay that the server asked for.
//
// What is timed is the whole of it: from the first try to the answer, as the
// user feels it. A closed loop measures how fast a server answers, not how it
// holds up when more come than it can serve: its users wait with it.
package load

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	hdrhistogram "github.com/HdrHistogram/hdrhistogram-go"

	"stampede/cmd/stampede/internal/shop"
)

// Task is what one user wants. It is sent until it is answered.
type Task struct {
	// Index is the source's own.
	Index int
	// Token is the user's access token; empty: none.
	Token string
	// Body is the request. The source appends to Body[:0] to save allocations.
	Body []byte
}

// Result is what a task came to.
type Result struct {
	shop.Answer
	// Started is before the first try, Answered after the last one.
	Started, Answered time.Time
	// Tries is how often the request was sent, with success or without.
	Tries int
	// Lost is what the connection last failed with, if it did.
	Lost error
}

// Options say how to load.
type Options struct {
	// URL is the server's base, without /graphql.
	URL string
	// Others are further nodes of the same shop. The users spread over all of
	// them; one whose connection is lost or closed goes on at the next.
	Others []string
	// Concurrency is the number of users.
	Concurrency int
	// Timeout bounds one try; 0: 10 s.
	Timeout time.Duration
	// Patience bounds a task with all of its tries; 0: 60 s.
	Patience time.Duration
	// Judge reads answers.
	Judge func(status int, after time.Duration, body []byte) shop.Answer
	// Next fills in a user's next task, or returns false when there is none.
	// It is called by many users at the same time.
	Next func(*Task) bool
	// Observe, if set, hears of each result. It is called by many users at the
	// same time; the answer's Order is its own to keep.
	Observe func(*Task, Result)
}

// Report is what a run came to.
type Report struct {
	Elapsed time.Duration
	// Latency of all tasks that were answered, in microseconds.
	Latency *hdrhistogram.Histogram
	// LongestGap is the longest time that a user went without an answer, from one
	// to its next.
	LongestGap time.Duration
	// Accepted tasks, and the others by reason.
	Accepted int64
	Refused  map[string]int64
	Failed   map[string]int64
	// Unanswered tasks were given up: patience or the run ended first.
	Unanswered int64
	// Retries by reason: tries that were not the last of their task.
	Retries map[string]int64
	// Lost is what a connection last failed with, if one did.
	Lost error
}

// Answered is how many tasks got an answer.
func (r *Report) Answered() int64 {
	n := r.Accepted
	for _, counts := range []map[string]int64{r.Refused, r.Failed} {
		for _, count := range counts {
			n += count
		}
	}
	return n
}

// PerSecond is the rate of answers.
func (r *Report) PerSecond() float64 {
	if r.Elapsed <= 0 {
		return 0
	}
	return float64(r.Answered()) / r.Elapsed.Seconds()
}

// Millis is a percentile of the latency.
func (r *Report) Millis(percentile float64) float64 {
	return float64(r.Latency.ValueAtPercentile(percentile)) / 1000
}

// The histogram's range: one microsecond to ten minutes, three digits.
const (
	lowestMicros  = 1
	highestMicros = int64(10 * time.Minute / time.Microsecond)
	digits        = 3
)

// connectionLost is the reason of a try that ended without an HTTP answer.
const connectionLost = "CONNECTION"

// Delays between tries when the server asks for none.
const (
	firstDelay = 10 * time.Millisecond
	mostDelay  = 500 * time.Millisecond
)

// Run loads the server until there is no next task or the context ends.
func Run(ctx context.Context, o Options) (*Report, error) {
	nodes, err := o.targets()
	if err != nil {
		return nil, err
	}
	o.setDefaults()
	started := time.Now()
	all := newCollector()
	var users sync.WaitGroup
	for i := range o.Concurrency {
		users.Go(func() {
			u := user{options: &o, wire: wire{nodes: nodes, at: i % len(nodes), timeout: o.Timeout}, all: all}
			defer u.wire.close()
			u.run(ctx)
		})
	}
	users.Wait()
	all.report.Elapsed = time.Since(started)
	return &all.report, nil
}

// collector gathers what the users report. One for all: a histogram has a
// quarter of a megabyte, and the lock is held for far less than a request.
type collector struct {
	mu     sync.Mutex
	report Report
}

func (c *collector) retried(reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.report.Retries[reason]++
}

func (c *collector) waited(gap time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.report.LongestGap = max(c.report.LongestGap, gap)
}

func (c *collector) count(result Result) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if result.Lost != nil {
		c.report.Lost = result.Lost
	}
	switch result.Kind {
	case shop.Retry:
		c.report.Unanswered++
		return
	case shop.Accepted:
		c.report.Accepted++
	case shop.Refused:
		c.report.Refused[result.Reason]++
	case shop.Failed:
		c.report.Failed[result.Reason]++
	}
	micros := result.Answered.Sub(result.Started).Microseconds()
	// Within the histogram's range, so it cannot fail.
	_ = c.report.Latency.RecordValue(min(max(micros, lowestMicros), highestMicros))
}

// user is one goroutine of a run.
type user struct {
	options *Options
	wire    wire
	all     *collector
}

func (u *user) run(ctx context.Context) {
	var task Task
	last := time.Now()
	for ctx.Err() == nil && u.options.Next(&task) {
		result := u.perform(ctx, &task)
		u.all.waited(result.Answered.Sub(last))
		last = result.Answered
		u.all.count(result)
		if u.options.Observe != nil {
			u.options.Observe(&task, result)
		}
	}
}

// perform sends a task until it is answered, or patience or the run ends: then
// the answer's kind is still shop.Retry.
func (u *user) perform(ctx context.Context, task *Task) Result {
	result := Result{Started: time.Now()}
	giveUp := result.Started.Add(u.options.Patience)
	for {
		result.Tries++
		got, err := u.wire.post(ctx, task.Token, task.Body)
		if err != nil {
			result.Answer, result.Lost = shop.Answer{Kind: shop.Retry, Reason: connectionLost}, err
		} else {
			result.Answer = u.options.Judge(got.status, got.after, got.body)
		}
		result.Answered = time.Now()
		if result.Kind != shop.Retry {
			return result
		}
		delay := delayBefore(result.Tries, result.After)
		if result.Answered.Add(delay).After(giveUp) || !sleep(ctx, delay) {
			return result
		}
		u.all.retried(result.Reason)
	}
}

// delayBefore is the delay that was asked for and up to half as much again, or
// else one that doubles with each try; the jitter keeps users who were turned
// away together from coming back together.
func delayBefore(tries int, asked time.Duration) time.Duration {
	if asked > 0 {
		return asked + rand.N(asked/2+1)
	}
	most := firstDelay << min(tries-1, 10)
	return rand.N(min(most, mostDelay)) + time.Millisecond
}

func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
