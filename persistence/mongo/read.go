package mongo

// Reading the journal: only what a majority has, a page at a time, so that no
// cursor waits at the server for a slow consumer.

import (
	"context"
	"fmt"
	"iter"
	"math"
	"strconv"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"stampede/actors/entity"
	"stampede/persistence"
)

const (
	// pageRecords and pageBytes bound what is read ahead of a consumer.
	pageRecords = 256
	pageBytes   = 4 << 20
	// firstPageBack is how much of a stream is read backwards at first: whoever
	// looks for one record needs no more. Each page after it is larger.
	firstPageBack = 4
	pageGrowth    = 4
	// seqDigits is the length of the largest seq in an _id.
	seqDigits = 19
)

// recordKey is the _id of a record: the stream, a slash and the seq with
// leading zeros, so that a stream's records are in order.
func recordKey(stream string, seq uint64) string {
	digits := strconv.FormatUint(seq, 10)
	return stream + "/" + strings.Repeat("0", seqDigits-len(digits)) + digits
}

// splitKey takes an _id apart. The seq has a fixed length, so an id with
// slashes and digits of its own is no problem.
func splitKey(key string) (stream string, seq uint64, err error) {
	at := len(key) - seqDigits - 1
	if at < 0 || key[at] != '/' {
		return "", 0, fmt.Errorf("_id %q is not a stream and a number", key)
	}
	seq, err = strconv.ParseUint(key[at+1:], 10, 63)
	return key[:at], seq, err
}

//nolint:gosec // numbers are stored bit by bit
func documentOf(r *entity.Record) document {
	events := r.Events
	if events == nil {
		events = []byte{}
	}
	return document{
		ID: recordKey(r.Stream(), r.Seq), FirstVersion: int64(r.FirstVersion), LastVersion: int64(r.LastVersion),
		Epoch: int64(r.Epoch), Position: int64(r.Position), WakeAtMs: r.WakeAtMs, Checksum: int64(r.Checksum), Events: events,
	}
}

//nolint:gosec // numbers are stored bit by bit
func (d *document) record() (*entity.Record, error) {
	stream, seq, err := splitKey(d.ID)
	if err != nil {
		return nil, err
	}
	kind, id := persistence.SplitStream(stream)
	return &entity.Record{
		Kind: kind, ID: id, Seq: seq, FirstVersion: uint64(d.FirstVersion), LastVersion: uint64(d.LastVersion),
		Epoch: entity.Epoch(d.Epoch), Position: uint64(d.Position), WakeAtMs: d.WakeAtMs, Checksum: uint32(d.Checksum), Events: d.Events,
	}, nil
}

// MaxRecordBytes implements persistence.Journal.
func (s *Store) MaxRecordBytes() int { return persistence.MaxRecordBytes }

// ReadStream implements entity.Store.
func (s *Store) ReadStream(ctx context.Context, stream string, afterSeq uint64) iter.Seq2[*entity.Record, error] {
	if afterSeq >= math.MaxInt64 {
		return func(func(*entity.Record, error) bool) {}
	}
	ids, length := rangeOf(stream, afterSeq), len(recordKey(stream, 0))
	q := query{what: "read stream " + stream, next: func() (bson.D, *options.FindOptionsBuilder, int) {
		return bson.D{{Key: "_id", Value: ids}}, options.Find().SetSort(bson.D{{Key: "_id", Value: 1}}), pageRecords
	}, take: func(d *document) bool {
		ids[0].Value = d.ID
		// Between two records of a stream there may be those of another one,
		// whose id goes on with a slash and a number; their _ids are longer.
		return len(d.ID) == length
	}}
	if afterSeq == 0 {
		q.whole = stream
	}
	return s.read(ctx, q)
}

// rangeOf is the _ids of a stream's records after one, and perhaps of others.
func rangeOf(stream string, afterSeq uint64) bson.D {
	return bson.D{{Key: "$gt", Value: recordKey(stream, afterSeq)}, {Key: "$lte", Value: recordKey(stream, math.MaxInt64)}}
}

// ReadStreamBack implements persistence.Journal.
func (s *Store) ReadStreamBack(ctx context.Context, stream string, beforeSeq uint64) iter.Seq2[*entity.Record, error] {
	first, before := recordKey(stream, 0), recordKey(stream, min(beforeSeq, math.MaxInt64))
	bound := "$lt"
	if beforeSeq > math.MaxInt64 {
		bound = "$lte" // the last number that a record can have
	}
	limit := firstPageBack / pageGrowth
	return s.read(ctx, query{what: "read stream " + stream + " back", next: func() (bson.D, *options.FindOptionsBuilder, int) {
		limit = min(limit*pageGrowth, pageRecords)
		return bson.D{{Key: "_id", Value: bson.D{{Key: "$gt", Value: first}, {Key: bound, Value: before}}}},
			options.Find().SetSort(bson.D{{Key: "_id", Value: -1}}), limit
	}, take: func(d *document) bool {
		before, bound = d.ID, "$lt"
		return len(d.ID) == len(first) // see ReadStream
	}})
}

// ReadEpoch implements persistence.Journal.
func (s *Store) ReadEpoch(ctx context.Context, epoch entity.Epoch, after uint64) iter.Seq2[*entity.Record, error] {
	position := int64(min(after, persistence.MaxPosition)) //nolint:gosec // bounded
	return s.read(ctx, query{what: fmt.Sprintf("read epoch %d", epoch), next: func() (bson.D, *options.FindOptionsBuilder, int) {
		return bson.D{{Key: "epoch", Value: int64(epoch)}, {Key: "position", Value: bson.D{{Key: "$gt", Value: position}}}},
			options.Find().SetSort(bson.D{{Key: "epoch", Value: 1}, {Key: "position", Value: 1}}).SetHint(logIndex), pageRecords
	}, take: func(d *document) bool {
		position = d.Position
		return true
	}})
}

// query is what is read: what next asks for, a page of at most so many documents
// after the other; take notes how far it has come and tells which documents count.
type query struct {
	what string
	next func() (bson.D, *options.FindOptionsBuilder, int)
	take func(*document) bool
	// whole is the stream that is read from its beginning, if one is.
	whole string
}

// read yields what the query asks for.
func (s *Store) read(ctx context.Context, q query) iter.Seq2[*entity.Record, error] {
	return func(yield func(*entity.Record, error) bool) {
		first := q.whole != ""
		for more := true; more; first = false {
			var page []*entity.Record
			read := func() (err error) {
				page, more, err = s.nextPage(ctx, q)
				return err
			}
			var absent bool
			var err error
			if first {
				absent, err = s.firstPage(ctx, q.whole, read)
			} else {
				err = read()
			}
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				yield(nil, err)
				return
			}
			if absent {
				return
			}
			for _, r := range page {
				if !yield(r, nil) {
					return
				}
			}
		}
	}
}

func (s *Store) nextPage(ctx context.Context, q query) (page []*entity.Record, more bool, err error) {
	err = s.operate(ctx, q.what, func(ctx context.Context) error {
		filter, o, limit := q.next()
		return s.readMajority(ctx, func(ctx context.Context) (err error) {
			page, more, err = s.page(ctx, filter, o, limit, q.take)
			return err
		})
	})
	return page, more, err
}

func (s *Store) page(ctx context.Context, filter bson.D, o *options.FindOptionsBuilder, limit int, take func(*document) bool) (page []*entity.Record, more bool, err error) {
	cursor, err := s.journalMajority.Find(ctx, filter, o.SetLimit(int64(limit)).SetBatchSize(int32(limit))) //nolint:gosec // at most pageRecords
	if err != nil {
		return nil, false, err
	}
	defer func() {
		if e := cursor.Close(ctx); err == nil {
			err = e
		}
	}()
	read, size := 0, 0
	for size < pageBytes && cursor.Next(ctx) {
		var d document
		if err := cursor.Decode(&d); err != nil {
			return nil, false, err
		}
		read++
		size += len(d.Events)
		if !take(&d) {
			continue
		}
		r, err := d.record()
		if err != nil {
			return nil, false, err
		}
		page = append(page, r)
	}
	return page, read == limit || size >= pageBytes, cursor.Err()
}
