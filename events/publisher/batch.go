package publisher

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/segmentio/kafka-go/compress"

	"stampede/events/cloudevents"
)

// A record batch (magic 2) as the Kafka protocol defines it:
//
//	 0 base offset      8   assigned by the broker
//	 8 batch length     4   of what follows
//	12 leader epoch     4
//	16 magic            1   2
//	17 CRC-32C          4   of everything from 21
//	21 attributes       2   compression in bits 0-2
//	23 last offset delta 4
//	27 first timestamp  8
//	35 max timestamp    8
//	43 producer id      8
//	51 producer epoch   2
//	53 base sequence    4
//	57 record count     4
//	61 records              compressed as one
//
// It is encoded here, not by kafka-go, which writes no producer id: with it a
// batch that is sent again is recognised by the broker and not stored twice.
const (
	batchHeaderBytes   = 61
	batchLengthOffset  = 8
	batchCRCOffset     = 17
	batchAttrOffset    = 21
	sizePrefixBytes    = 4
	recordOverhead     = 24
	headerOverhead     = 4
	magicRecordBatchV2 = 2
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// session is what the broker knows an idempotent producer by.
type session struct {
	id    int64
	epoch int16
}

// encoder encodes batches. It keeps its buffer between batches and belongs to
// one goroutine at a time.
type encoder struct {
	codec compress.Codec
	attrs uint16
	plain []byte
}

func newEncoder(c compress.Compression) *encoder {
	return &encoder{codec: c.Codec(), attrs: uint16(c)} //nolint:gosec // one of five small numbers
}

// encode returns the batch behind its length in four bytes, as a produce
// request carries it. Records get the time of sending: what happened when is
// in ce_time, and a log whose times go back would be trimmed too early.
func (e *encoder) encode(items []*item, s session, sequence int32, now time.Time) ([]byte, error) {
	e.plain = e.plain[:0]
	for i, it := range items {
		e.plain = appendRecord(e.plain, i, &it.msg)
	}
	out := make([]byte, sizePrefixBytes+batchHeaderBytes, sizePrefixBytes+batchHeaderBytes+len(e.plain)/2)
	if e.codec == nil {
		out = append(out, e.plain...)
	} else {
		w := &sliceWriter{b: out}
		z := e.codec.NewWriter(w)
		if _, err := z.Write(e.plain); err != nil {
			return nil, fmt.Errorf("compress batch: %w", err)
		}
		if err := z.Close(); err != nil {
			return nil, fmt.Errorf("compress batch: %w", err)
		}
		out = w.b
	}
	binary.BigEndian.PutUint32(out, uint32(len(out)-sizePrefixBytes)) //nolint:gosec // BatchBytes bounds it
	fillHeader(out[sizePrefixBytes:], e.attrs, len(items), s, sequence, now)
	return out, nil
}

//nolint:gosec // sizes and counts are bounded by Limits; the rest are bit patterns
func fillHeader(b []byte, attrs uint16, records int, s session, sequence int32, now time.Time) {
	be := binary.BigEndian
	be.PutUint32(b[batchLengthOffset:], uint32(len(b)-batchLengthOffset-4))
	be.PutUint32(b[12:], ^uint32(0)) // leader epoch: none
	b[16] = magicRecordBatchV2
	be.PutUint16(b[batchAttrOffset:], attrs)
	be.PutUint32(b[23:], uint32(records-1))
	be.PutUint64(b[27:], uint64(now.UnixMilli()))
	be.PutUint64(b[35:], uint64(now.UnixMilli()))
	be.PutUint64(b[43:], uint64(s.id))
	be.PutUint16(b[51:], uint16(s.epoch))
	be.PutUint32(b[53:], uint32(sequence))
	be.PutUint32(b[57:], uint32(records))
	be.PutUint32(b[batchCRCOffset:], crc32.Checksum(b[batchAttrOffset:], castagnoli))
}

func appendRecord(b []byte, offset int, m *cloudevents.Message) []byte {
	body := 1 + 1 + varintLen(int64(offset)) +
		varintLen(int64(len(m.Key))) + len(m.Key) +
		varintLen(valueLen(m.Value)) + len(m.Value) +
		varintLen(int64(len(m.Headers)))
	for _, h := range m.Headers {
		body += varintLen(int64(len(h.Key))) + len(h.Key) + varintLen(int64(len(h.Value))) + len(h.Value)
	}
	b = binary.AppendVarint(b, int64(body))
	b = append(b, 0, 0) // attributes; timestamp delta 0
	b = binary.AppendVarint(b, int64(offset))
	b = binary.AppendVarint(b, int64(len(m.Key)))
	b = append(b, m.Key...)
	b = binary.AppendVarint(b, valueLen(m.Value))
	b = append(b, m.Value...)
	b = binary.AppendVarint(b, int64(len(m.Headers)))
	for _, h := range m.Headers {
		b = binary.AppendVarint(b, int64(len(h.Key)))
		b = append(b, h.Key...)
		b = binary.AppendVarint(b, int64(len(h.Value)))
		b = append(b, h.Value...)
	}
	return b
}

// valueLen is the length that is written: -1 for a tombstone.
func valueLen(v []byte) int64 {
	if v == nil {
		return -1
	}
	return int64(len(v))
}

func varintLen(v int64) int {
	u := uint64(v<<1) ^ uint64(v>>63)
	n := 1
	for ; u >= 0x80; u >>= 7 {
		n++
	}
	return n
}

// nextSequence is the sequence after a batch of n records: they wrap to 0
// after the largest int32.
func nextSequence(sequence int32, n int) int32 {
	return int32((int64(sequence) + int64(n)) & 0x7fffffff)
}

// messageBytes is about what a message takes in a batch before compression.
// In memory it is itemBytes more.
func messageBytes(m *cloudevents.Message) int {
	n := recordOverhead + len(m.Key) + len(m.Value)
	for _, h := range m.Headers {
		n += headerOverhead + len(h.Key) + len(h.Value)
	}
	return n
}

type sliceWriter struct{ b []byte }

func (w *sliceWriter) Write(p []byte) (int, error) {
	w.b = append(w.b, p...)
	return len(p), nil
}
