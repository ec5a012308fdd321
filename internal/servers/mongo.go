package servers

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// ReplicaSet is the name of the replica sets.
const ReplicaSet = "rs0"

// Mongo is a mongod: a replica set of one unless it stands alone. Its methods
// are for one goroutine.
type Mongo struct {
	// URI stays the same over Restart.
	URI string
	// Address is host:port.
	Address string
	*Process
}

// MongoConfig changes how a mongod is started.
type MongoConfig struct {
	Standalone bool
	// Args are added to its command line; a later one of a kind wins.
	Args []string
	// Joins: it waits for a replica set that somebody else founds, and is ready
	// when it answers.
	Joins bool
}

// StartMongo starts a mongod on a free loopback port, with its data in a
// temporary folder.
func StartMongo(c MongoConfig) (*Mongo, error) {
	program, err := fetchedFile(mongoHome, "bin", "mongod")
	if err != nil {
		return nil, err
	}
	m := &Mongo{}
	m.Process, err = OnFreePorts(1, func(ports []int) (*Process, error) {
		dir, err := NewFolder("mongod")
		if err != nil {
			return nil, err
		}
		address := "127.0.0.1:" + strconv.Itoa(ports[0])
		m.Address = address
		m.URI = "mongodb://" + address + "/"
		argv := []string{
			program, "--dbpath", dir, "--bind_ip", "127.0.0.1", "--port", strconv.Itoa(ports[0]), "--nounixsocket",
			"--wiredTigerCacheSizeGB", "0.5", "--setParameter", "diagnosticDataCollectionEnabled=false",
		}
		if !c.Standalone {
			m.URI += "?replicaSet=" + ReplicaSet
			argv = append(argv, "--replSet", ReplicaSet, "--oplogSize", "512")
		}
		p := &Process{Name: "mongod", Dir: dir, Argv: append(argv, c.Args...)}
		p.Ready = func(ctx context.Context) error { return mongoReady(ctx, address, dir, c.Joins) }
		return p, p.Start()
	})
	return m, err
}

// mongoReady returns nil when the mongod on the data folder dir takes writes at
// address. It founds the replica set if the mongod waits for one, unless it joins
// another's: then it need not take writes.
func mongoReady(ctx context.Context, address, dir string, joins bool) (err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	client, err := mongo.Connect(options.Client().ApplyURI("mongodb://" + address + "/?directConnection=true").
		SetServerSelectionTimeout(time.Second))
	if err != nil {
		return fmt.Errorf("connecting: %w", err)
	}
	defer func() { err = errors.Join(err, client.Disconnect(ctx)) }()
	admin := client.Database("admin")
	var opts struct {
		Parsed struct {
			Storage struct {
				Path string `bson:"dbPath"`
			} `bson:"storage"`
		} `bson:"parsed"`
	}
	if err := admin.RunCommand(ctx, bson.D{{Key: "getCmdLineOpts", Value: 1}}).Decode(&opts); err != nil {
		return fmt.Errorf("getCmdLineOpts: %w", err)
	}
	if opts.Parsed.Storage.Path != dir {
		return fmt.Errorf("address already in use at %s by a server on %s", address, opts.Parsed.Storage.Path)
	}
	var hello struct {
		Writable bool `bson:"isWritablePrimary"`
		Founding bool `bson:"isreplicaset"`
	}
	if err := admin.RunCommand(ctx, bson.D{{Key: "hello", Value: 1}}).Decode(&hello); err != nil {
		return fmt.Errorf("hello: %w", err)
	}
	switch {
	case hello.Writable || joins:
		return nil
	case !hello.Founding:
		return errors.New("no writable primary yet")
	}
	members := bson.A{bson.D{{Key: "_id", Value: 0}, {Key: "host", Value: address}}}
	config := bson.D{{Key: "_id", Value: ReplicaSet}, {Key: "members", Value: members}}
	if err := admin.RunCommand(ctx, bson.D{{Key: "replSetInitiate", Value: config}}).Err(); err != nil {
		return fmt.Errorf("replSetInitiate: %w", err)
	}
	return errors.New("replica set founded, no primary yet")
}
