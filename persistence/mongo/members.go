package mongo

// The membership table: one document, so that one write can end a lease and
// change the version, whatever the server knows of transactions.

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readconcern"

	"stampede/actors/entity"
	"stampede/cluster/members"
)

const (
	membersName = "members"
	// tableID is the _id of the one document.
	tableID = "table"
)

// Members is the membership table in the store's database. It implements
// membership.Table, and ends with the store.
type Members struct {
	store *Store
	table *mongo.Collection
}

// Members returns the membership table.
func (s *Store) Members() *Members {
	// What is read by itself is what a majority has; a renewal returns what it
	// was made on, which a majority has when it is acknowledged.
	majority := options.Collection().SetReadConcern(readconcern.Majority())
	return &Members{store: s, table: s.journal.Database().Collection(membersName, majority)}
}

type tableDocument struct {
	ID      string           `bson:"_id"`
	Version int64            `bson:"version"`
	View    int64            `bson:"view"`
	Rows    []memberDocument `bson:"members"`
	Leases  []leaseDocument  `bson:"leases"`
}

type memberDocument struct {
	ID         string              `bson:"id"`
	Name       string              `bson:"name"`
	Address    string              `bson:"address"`
	Epoch      int64               `bson:"epoch"`
	Roles      []string            `bson:"roles"`
	State      string              `bson:"state"`
	Version    string              `bson:"version"`
	SinceMs    int64               `bson:"since"`
	DrainAsked bool                `bson:"drainAsked,omitempty"`
	Suspicions []suspicionDocument `bson:"suspicions,omitempty"`
	Ended      string              `bson:"ended,omitempty"`
	DownIn     int64               `bson:"downIn,omitempty"`
}

type suspicionDocument struct {
	By  string `bson:"by"`
	How string `bson:"how"`
}

type leaseDocument struct {
	ID   string `bson:"id"`
	Beat int64  `bson:"beat"`
	Seen int64  `bson:"seen"`
}

// Read implements membership.Table.
func (m *Members) Read(ctx context.Context) (contents members.Contents, err error) {
	err = m.store.operate(ctx, "read the members", func(ctx context.Context) error {
		return m.store.readMajority(ctx, func(ctx context.Context) error {
			var d tableDocument
			err := m.table.FindOne(ctx, bson.D{{Key: "_id", Value: tableID}}).Decode(&d)
			if errors.Is(err, mongo.ErrNoDocuments) {
				return nil
			}
			if err != nil {
				return err
			}
			contents, err = d.contents()
			return err
		})
	})
	return contents, err
}

// Change implements membership.Table.
func (m *Members) Change(ctx context.Context, ch *members.Change) error {
	return m.store.operate(ctx, "change the members", func(ctx context.Context) error {
		return m.store.write(ctx, func(ctx context.Context) error {
			if ch.From == 0 {
				return m.create(ctx, ch)
			}
			filter := bson.D{{Key: "_id", Value: tableID}, {Key: "version", Value: int64(ch.From)}}
			update := bson.D{{Key: "$set", Value: bson.D{
				{Key: "version", Value: int64(ch.From + 1)}, {Key: "view", Value: int64(ch.View)}, {Key: "members", Value: rowDocuments(ch.Rows)},
			}}}
			if ch.End != nil {
				filter = append(filter, holding(*ch.End))
				update = append(update, bson.E{Key: "$pull", Value: bson.D{{Key: "leases", Value: bson.D{{Key: "id", Value: ch.End.ID}}}}})
			}
			if ch.Begin != "" {
				update = append(update, bson.E{Key: "$push", Value: bson.D{{Key: "leases", Value: leaseDocument{ID: ch.Begin, Beat: 1}}}})
			}
			done, err := m.table.UpdateOne(ctx, filter, update)
			if err == nil && done.MatchedCount == 0 {
				return members.ErrConflict
			}
			return err
		})
	})
}

// create makes the first version.
func (m *Members) create(ctx context.Context, ch *members.Change) error {
	d := tableDocument{ID: tableID, Version: 1, View: int64(ch.View), Rows: rowDocuments(ch.Rows), Leases: []leaseDocument{}} //nolint:gosec // a count
	if ch.End != nil {
		return members.ErrConflict
	}
	if ch.Begin != "" {
		d.Leases = append(d.Leases, leaseDocument{ID: ch.Begin, Beat: 1})
	}
	_, err := m.table.InsertOne(ctx, d)
	if mongo.IsDuplicateKeyError(err) {
		return members.ErrConflict
	}
	return err
}

// Renew implements membership.Table.
func (m *Members) Renew(ctx context.Context, l members.Lease) (contents members.Contents, err error) {
	err = m.store.operate(ctx, "renew the lease of "+l.ID, func(ctx context.Context) error {
		return m.store.write(ctx, func(ctx context.Context) error {
			var d tableDocument
			err := m.table.FindOneAndUpdate(ctx, bson.D{{Key: "_id", Value: tableID}, holding(l)},
				bson.D{
					{Key: "$inc", Value: bson.D{{Key: "leases.$.beat", Value: int64(1)}}},
					{Key: "$set", Value: bson.D{{Key: "leases.$.seen", Value: int64(l.Seen)}}}, //nolint:gosec // a count
				},
				options.FindOneAndUpdate().SetReturnDocument(options.After)).Decode(&d)
			if errors.Is(err, mongo.ErrNoDocuments) {
				return members.ErrConflict
			}
			if err != nil {
				return err
			}
			contents, err = d.contents()
			return err
		})
	})
	return contents, err
}

// holding finds the table in which the lease is at that beat.
func holding(l members.Lease) bson.E {
	return bson.E{Key: "leases", Value: bson.D{{Key: "$elemMatch", Value: bson.D{{Key: "id", Value: l.ID}, {Key: "beat", Value: int64(l.Beat)}}}}} //nolint:gosec // a count
}

//nolint:gosec // counts are stored bit by bit
func rowDocuments(rows []members.Row) []memberDocument {
	docs := make([]memberDocument, len(rows))
	for i := range rows {
		r, m := &rows[i], &rows[i].Member
		docs[i] = memberDocument{
			ID: m.ID, Name: m.Name, Address: m.Address, Epoch: int64(m.Epoch), State: m.State.String(), Version: m.Version,
			SinceMs: m.Since.UnixMilli(), DrainAsked: r.DrainAsked, Ended: r.Ended, DownIn: int64(r.DownIn), Roles: []string{},
		}
		for _, role := range m.Roles {
			docs[i].Roles = append(docs[i].Roles, string(role))
		}
		for _, s := range r.Suspicions {
			docs[i].Suspicions = append(docs[i].Suspicions, suspicionDocument{By: s.By, How: s.How.String()})
		}
	}
	return docs
}

//nolint:gosec // counts are stored bit by bit
func (d *tableDocument) contents() (members.Contents, error) {
	c := members.Contents{Version: uint64(d.Version), View: uint64(d.View)}
	for i := range d.Rows {
		m := &d.Rows[i]
		state, err := members.ParseState(m.State)
		if err != nil {
			return c, fmt.Errorf("member %s: %w", m.ID, err)
		}
		r := members.Row{
			Member: members.Member{
				ID: m.ID, Name: m.Name, Address: m.Address, Epoch: entity.Epoch(m.Epoch), State: state, Version: m.Version,
				Since: time.UnixMilli(m.SinceMs).UTC(),
			},
			DrainAsked: m.DrainAsked, Ended: m.Ended, DownIn: uint64(m.DownIn),
		}
		for _, role := range m.Roles {
			r.Member.Roles = append(r.Member.Roles, members.Role(role))
		}
		for _, s := range m.Suspicions {
			how, err := members.ParseFinding(s.How)
			if err != nil {
				return c, fmt.Errorf("suspicion of member %s: %w", m.ID, err)
			}
			r.Suspicions = append(r.Suspicions, members.Suspicion{By: s.By, How: how})
		}
		c.Rows = append(c.Rows, r)
	}
	for _, l := range d.Leases {
		c.Leases = append(c.Leases, members.Lease{ID: l.ID, Beat: uint64(l.Beat), Seen: uint64(l.Seen)})
	}
	return c, nil
}
