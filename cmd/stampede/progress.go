package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
)

// progress shows how many of a number of things are done: a bar on a terminal, a line
// every tenth elsewhere.
type progress struct {
	out   io.Writer
	what  string
	total int
	bar   *progressbar.ProgressBar
	tenth int
}

const progressEvery = 50 * time.Millisecond

// newProgress shows what is done, such as "shoppers served", in units such as "orders".
func newProgress(out io.Writer, what, unit string, total int) *progress {
	p := &progress{out: out, what: what, total: max(total, 1)}
	if file, ok := out.(*os.File); ok && isTerminal(file) {
		p.bar = progressbar.NewOptions(total,
			progressbar.OptionSetWriter(out), progressbar.OptionSetDescription(what), progressbar.OptionSetWidth(40),
			progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionSetItsString(unit),
			progressbar.OptionSetPredictTime(false), progressbar.OptionThrottle(progressEvery))
	}
	return p
}

func isTerminal(file *os.File) bool {
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// follow shows what count says until ctx ends.
func (p *progress) follow(ctx context.Context, count func() int) {
	ticker := time.NewTicker(progressEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			p.show(count())
		}
	}
}

func (p *progress) show(n int) {
	if p.bar != nil {
		_ = p.bar.Set(n) // an unwritable terminal is no reason to stop a sale
		return
	}
	if tenth := n * 10 / p.total; tenth > p.tenth {
		p.tenth = tenth
		fmt.Fprintf(p.out, "%s: %d %%\n", p.what, tenth*10)
	}
}

// finish shows the end.
func (p *progress) finish(n int) {
	p.show(n)
	if p.bar != nil {
		fmt.Fprintln(p.out)
	}
}
