package sqlite

import (
	"bufio"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"iter"
	"sync"

	"stampede/actors/entity"
)

// child is the other end of serve: a journal in a process of its own. When the
// process dies, what was asked of it has an unknown outcome.
type child struct {
	mu      sync.Mutex
	out     *gob.Encoder
	n       uint64
	waiting map[uint64]chan response
	died    bool
}

func newChild(out io.Writer, in io.Reader) *child {
	c := &child{out: gob.NewEncoder(out), waiting: make(map[uint64]chan response)}
	go func() {
		responses := gob.NewDecoder(bufio.NewReader(in))
		for {
			var r response
			if err := responses.Decode(&r); err != nil {
				break
			}
			c.mu.Lock()
			c.waiting[r.N] <- r
			delete(c.waiting, r.N)
			c.mu.Unlock()
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.died = true
		for _, w := range c.waiting {
			close(w)
		}
	}()
	return c
}

// ask returns false when the process died before it answered.
func (c *child) ask(q request) (response, bool) {
	w := make(chan response, 1)
	c.mu.Lock()
	if c.died {
		c.mu.Unlock()
		return response{}, false
	}
	c.n++
	q.N = c.n
	c.waiting[q.N] = w
	// A failed write means that the process is dying: the reader sees it too.
	err := c.out.Encode(q)
	_ = err
	c.mu.Unlock()
	r, answered := <-w
	return r, answered
}

func (c *child) Append(_ context.Context, records []*entity.Record) []error {
	errs := make([]error, len(records))
	r, answered := c.ask(request{Append: records})
	for i := range errs {
		switch {
		case !answered:
			errs[i] = fmt.Errorf("process died: %w", entity.ErrUnknownOutcome)
		case r.Results[i] != "":
			errs[i] = errors.New(r.Results[i])
			for _, o := range outcomes {
				if o.Error() == r.Results[i] {
					errs[i] = o
				}
			}
		}
	}
	return errs
}

func (c *child) ReadStream(_ context.Context, stream string, after uint64) iter.Seq2[*entity.Record, error] {
	return c.read(request{Reading: true, Stream: stream, After: after})
}

func (c *child) ReadEpoch(_ context.Context, epoch entity.Epoch, after uint64) iter.Seq2[*entity.Record, error] {
	return c.read(request{Reading: true, Epoch: epoch, After: after})
}

func (c *child) read(q request) iter.Seq2[*entity.Record, error] {
	return func(yield func(*entity.Record, error) bool) {
		r, answered := c.ask(q)
		if !answered {
			yield(nil, errors.New("process died"))
			return
		}
		for _, record := range r.Records {
			if !yield(record, nil) {
				return
			}
		}
		if r.Err != "" {
			yield(nil, errors.New(r.Err))
		}
	}
}
