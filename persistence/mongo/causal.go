package mongo

// Reads that see what was acknowledged, whoever is the primary now. A majority
// read alone does not: the majority's newest state, as a new primary knows it,
// may be older than the last write that the one before it acknowledged.

import (
	"context"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
)

// write runs writes and remembers when they happened.
func (s *Store) write(ctx context.Context, do func(context.Context) error) error {
	session, err := s.client.StartSession()
	if err != nil {
		return err
	}
	defer session.EndSession(ctx)
	err = do(mongo.NewSessionContext(ctx, session))
	s.wrote(session.OperationTime())
	return err
}

// wrote remembers the newest of the times; a standalone server gives none.
func (s *Store) wrote(at *bson.Timestamp) {
	if at == nil {
		return
	}
	t := uint64(at.T)<<32 | uint64(at.I)
	for {
		newest := s.written.Load()
		if t <= newest || s.written.CompareAndSwap(newest, t) {
			return
		}
	}
}

// readMajority runs majority reads that see all of our writes, and all that others had
// acknowledged before the oldest of them: a process begins with one, its epoch.
func (s *Store) readMajority(ctx context.Context, do func(context.Context) error) error {
	t := s.written.Load()
	if t == 0 {
		return do(ctx)
	}
	session, err := s.client.StartSession()
	if err != nil {
		return err
	}
	defer session.EndSession(ctx)
	if err := session.AdvanceOperationTime(&bson.Timestamp{T: uint32(t >> 32), I: uint32(t)}); err != nil { //nolint:gosec // its halves
		return err
	}
	return do(mongo.NewSessionContext(ctx, session))
}
