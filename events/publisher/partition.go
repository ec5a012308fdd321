package publisher

import "time"

// partition is what waits for one partition. Guarded by the publisher's mutex;
// while sending is set, batch, session and sequence belong to the goroutine
// that delivers.
type partition struct {
	topic string
	id    int
	queue queue
	// again is what was taken from the queue and has to be put into a batch
	// again; it comes before the queue.
	again []*item
	// batch is on its way, or failed and is sent again; nil: none.
	batch   *batch
	sending bool
	// attempts is how often the batch has failed since the last success.
	attempts int
	retryAt  time.Time
	// batchBytes bounds the next batch; halved when the broker finds one too
	// large, and raised slowly.
	batchBytes int
	// session and sequence are what the broker recognises a repeated batch by.
	session    session
	hasSession bool
	// ownSession: it had to begin anew, so the shared producer id is not for it.
	ownSession bool
	sequence   int32
}

type batch struct {
	items []*item
	// raw is the encoded batch; nil: to be encoded.
	raw []byte
}

// bare reports a batch of one message that has lost its data already.
func (b *batch) bare() bool { return len(b.items) == 1 && b.items[0].omitted }

// take returns what the next batch is made of. It is not empty when the
// partition was ready.
func (part *partition) take(records int, now time.Time) []*item {
	if len(part.again) == 0 {
		return part.queue.take(records, part.batchBytes, now)
	}
	n, bytes := 0, part.batchBytes
	for ; n < len(part.again) && n < records; n++ {
		if bytes -= part.again[n].size; bytes < 0 && n > 0 {
			break
		}
	}
	out := part.again[:n:n]
	part.again = part.again[n:]
	return out
}

// remove takes everything of a key out of what waits, in order.
func (part *partition) remove(key string) []*item {
	var out, kept []*item
	for _, it := range part.again {
		if it.msg.Key == key {
			out = append(out, it)
		} else {
			kept = append(kept, it)
		}
	}
	part.again = kept
	return append(out, part.queue.remove(key)...)
}
