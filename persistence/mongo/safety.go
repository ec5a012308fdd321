package mongo

// What Open refuses: a MongoDB that would acknowledge what it could lose.

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"

	"stampede/persistence"
)

// Codes of the server that mean something here.
const (
	codeBadValue     = 2
	codeUnauthorized = 13
)

func unsafe(format string, args ...any) error {
	return fmt.Errorf("%w: %s", persistence.ErrUnsafe, fmt.Sprintf(format, args...))
}

// checkURI refuses a URI that asks for less than what every write here asks
// for: it would be overruled in silence otherwise.
func checkURI(o *options.ClientOptions) error {
	wc := o.WriteConcern
	if wc == nil {
		return nil
	}
	if wc.W != nil && wc.W != writeconcern.WCMajority {
		return unsafe("the URI asks for w=%v; remove it, or set w=majority", wc.W)
	}
	if wc.Journal != nil && !*wc.Journal {
		return unsafe("the URI asks for journal=false; remove it, or set journal=true")
	}
	return nil
}

// checkServer refuses servers whose acknowledgement is not worth anything
// after a power failure.
func (s *Store) checkServer(ctx context.Context) error {
	admin := s.client.Database("admin")
	var hello struct {
		SetName string `bson:"setName"`
		Message string `bson:"msg"`
	}
	if err := admin.RunCommand(ctx, bson.D{{Key: "hello", Value: 1}}).Decode(&hello); err != nil {
		return fmt.Errorf("hello: %w", err)
	}
	if hello.Message == "isdbgrid" {
		return unsafe("this is a mongos, behind which the shards' settings cannot be seen; give the URI of a replica set")
	}
	if err := checkEngine(ctx, admin); err != nil {
		return err
	}
	if hello.SetName != "" {
		if err := checkReplicaSet(ctx, admin, hello.SetName); err != nil {
			return err
		}
	}
	err := s.barrier(ctx)
	var refused mongo.ServerError
	if errors.As(err, &refused) && refused.HasErrorCode(codeBadValue) && strings.Contains(err.Error(), "journal") {
		return unsafe("the server runs without a journal; start mongod without --nojournal (storage.journal.enabled: true)")
	}
	if err != nil {
		return fmt.Errorf("a write with w=majority and j=true: %w", err)
	}
	return nil
}

func checkEngine(ctx context.Context, admin *mongo.Database) error {
	var status struct {
		Engine struct {
			Name       string `bson:"name"`
			Persistent bool   `bson:"persistent"`
		} `bson:"storageEngine"`
	}
	command := bson.D{{Key: "serverStatus", Value: 1}}
	for _, section := range []string{"metrics", "locks", "repl", "wiredTiger", "tcmalloc", "asserts", "connections", "network", "opcounters"} {
		command = append(command, bson.E{Key: section, Value: 0})
	}
	if err := admin.RunCommand(ctx, command).Decode(&status); err != nil {
		return unseen("serverStatus", err)
	}
	if !status.Engine.Persistent {
		return unsafe("the storage engine %q keeps nothing on disk; use wiredTiger (storage.engine)", status.Engine.Name)
	}
	return nil
}

func checkReplicaSet(ctx context.Context, admin *mongo.Database, name string) error {
	var reply struct {
		Config struct {
			JournalDefault *bool `bson:"writeConcernMajorityJournalDefault"`
		} `bson:"config"`
	}
	if err := admin.RunCommand(ctx, bson.D{{Key: "replSetGetConfig", Value: 1}}).Decode(&reply); err != nil {
		return unseen("replSetGetConfig", err)
	}
	if d := reply.Config.JournalDefault; d != nil && !*d {
		return unsafe("replica set %s has writeConcernMajorityJournalDefault: false, so a majority may not have journalled what it acknowledged; "+
			"set it to true: c = rs.conf(); c.writeConcernMajorityJournalDefault = true; rs.reconfig(c)", name)
	}
	return nil
}

// unseen is a check that could not be made: without it nothing is promised.
func unseen(command string, err error) error {
	var refused mongo.ServerError
	if errors.As(err, &refused) && refused.HasErrorCode(codeUnauthorized) {
		return unsafe("the user may not run %s, which shows whether the server keeps what it acknowledges; grant it the role clusterMonitor", command)
	}
	return fmt.Errorf("%s: %w", command, err)
}
