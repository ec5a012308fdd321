package testservers_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/segmentio/kafka-go"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"

	"stampede/internal/testservers"
)

// ownerVariable makes this test binary an owner of a server that is killed; see
// TestServerEndsWithItsOwner.
const ownerVariable = "STAMPEDE_TESTSERVERS_OWNER"

func TestMain(m *testing.M) { testservers.Main(m) }

func collection(t *testing.T, uri string) *mongo.Collection {
	t.Helper()
	client, err := mongo.Connect(options.Client().ApplyURI(uri).SetServerSelectionTimeout(20 * time.Second))
	if err != nil {
		t.Fatalf("connecting to %s: %v", uri, err)
	}
	t.Cleanup(func() {
		if err := client.Disconnect(context.Background()); err != nil {
			t.Errorf("disconnecting: %v", err)
		}
	})
	durable := options.Collection().SetWriteConcern(&writeconcern.WriteConcern{W: "majority", Journal: new(true)})
	return client.Database("testservers").Collection("things", durable)
}

func TestMongoIsSharedAndTakesWrites(t *testing.T) {
	first, second := testservers.Mongo(t), testservers.Mongo(t)
	if first != second {
		t.Fatalf("two servers for one test binary: %s and %s", first, second)
	}
	if _, err := collection(t, first).InsertOne(t.Context(), bson.D{{Key: "_id", Value: t.Name()}}); err != nil {
		t.Fatalf("insert: %v", err)
	}
}

func TestMongoProcessKeepsItsDataOverAKill(t *testing.T) {
	server := testservers.MongoProcess(t)
	things := collection(t, server.URI())
	if _, err := things.InsertOne(t.Context(), bson.D{{Key: "_id", Value: 1}}); err != nil {
		t.Fatalf("insert: %v", err)
	}
	server.Kill()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := things.FindOne(ctx, bson.D{}).Err(); err == nil {
		t.Fatal("a killed server answered")
	}
	server.Restart()
	if n, err := things.CountDocuments(t.Context(), bson.D{}); err != nil || n != 1 {
		t.Fatalf("after the restart: %d documents, %v; want 1", n, err)
	}
	server.Stop()
	server.Restart()
	if n, err := things.CountDocuments(t.Context(), bson.D{}); err != nil || n != 1 {
		t.Fatalf("after the second restart: %d documents, %v; want 1", n, err)
	}
}

func TestMongoOptions(t *testing.T) {
	server := testservers.MongoProcess(t, testservers.MongoStandalone(), testservers.MongoArgs("--setParameter", "enableTestCommands=1"))
	things := collection(t, server.URI())
	admin := things.Database().Client().Database("admin")
	var hello struct {
		SetName string `bson:"setName"`
	}
	if err := admin.RunCommand(t.Context(), bson.D{{Key: "hello", Value: 1}}).Decode(&hello); err != nil || hello.SetName != "" {
		t.Fatalf("standalone says setName %q, %v", hello.SetName, err)
	}
	off := bson.D{{Key: "configureFailPoint", Value: "failCommand"}, {Key: "mode", Value: "off"}}
	if err := admin.RunCommand(t.Context(), off).Err(); err != nil {
		t.Fatalf("the argument for test commands was not passed on: %v", err)
	}
}

func TestKafkaProcessKeepsItsDataOverAKill(t *testing.T) {
	server := testservers.KafkaProcess(t)
	createTopic(t, server.Address(), "things")
	w := &kafka.Writer{Addr: kafka.TCP(server.Address()), Topic: "things", RequiredAcks: kafka.RequireAll, BatchTimeout: time.Millisecond}
	if err := w.WriteMessages(t.Context(), kafka.Message{Value: []byte("one")}); err != nil {
		t.Fatalf("write: %v", err)
	}
	if err := w.Close(); err != nil {
		t.Fatalf("closing the writer: %v", err)
	}
	server.Stop()
	server.Restart()
	server.Kill()
	server.Restart()
	r := kafka.NewReader(kafka.ReaderConfig{Brokers: []string{server.Address()}, Topic: "things", MaxWait: 100 * time.Millisecond})
	defer r.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if m, err := r.ReadMessage(ctx); err != nil || string(m.Value) != "one" {
		t.Fatalf("read %q, %v; want one", m.Value, err)
	}
}

func TestKafkaIsShared(t *testing.T) {
	first, second := testservers.Kafka(t), testservers.Kafka(t)
	if first != second {
		t.Fatalf("two brokers for one test binary: %s and %s", first, second)
	}
	createTopic(t, first, "shared-"+strconv.FormatInt(time.Now().UnixNano(), 36))
}

func createTopic(t *testing.T, address, topic string) {
	t.Helper()
	client := &kafka.Client{Addr: kafka.TCP(address), Timeout: 20 * time.Second}
	res, err := client.CreateTopics(t.Context(), &kafka.CreateTopicsRequest{
		Topics: []kafka.TopicConfig{{Topic: topic, NumPartitions: 1, ReplicationFactor: 1}},
	})
	if err == nil {
		err = res.Errors[topic]
	}
	if err != nil {
		t.Fatalf("creating topic %s at %s: %v", topic, address, err)
	}
}

func TestPostgresIsDurable(t *testing.T) {
	conn, err := pgx.Connect(t.Context(), testservers.Postgres(t))
	if err != nil {
		t.Fatalf("connecting: %v", err)
	}
	defer conn.Close(context.Background())
	for _, name := range []string{"fsync", "synchronous_commit"} {
		var value string
		if err := conn.QueryRow(t.Context(), "SHOW "+name).Scan(&value); err != nil || value != "on" {
			t.Errorf("%s is %q, %v; want on", name, value, err)
		}
	}
}

// TestServerEndsWithItsOwner kills a test process that has a server, as go test
// -timeout or a person would, and looks whether anything stays behind.
func TestServerEndsWithItsOwner(t *testing.T) {
	if os.Getenv(ownerVariable) != "" {
		server := testservers.MongoProcess(t)
		fmt.Printf("serving %s\n", server.URI())
		<-t.Context().Done() // until killed
		return
	}
	testservers.MongoProcess(t).Stop() // says so if there is no mongod
	temp := t.TempDir()
	owner := exec.Command(os.Args[0], "-test.run=^TestServerEndsWithItsOwner$", "-test.timeout=5m")
	owner.Env = append(os.Environ(), ownerVariable+"=1", "TMPDIR="+temp)
	out, err := owner.StdoutPipe()
	if err != nil {
		t.Fatalf("pipe: %v", err)
	}
	if err := owner.Start(); err != nil {
		t.Fatalf("starting the owner: %v", err)
	}
	var uri string
	for lines := bufio.NewScanner(out); uri == "" && lines.Scan(); {
		uri, _ = strings.CutPrefix(lines.Text(), "serving ")
	}
	if err := owner.Process.Kill(); err != nil {
		t.Fatalf("killing the owner: %v", err)
	}
	_ = owner.Wait() // it was killed: always an error
	if !strings.HasPrefix(uri, "mongodb://") {
		t.Fatalf("the owner served %q", uri)
	}
	waitUntilEmpty(t, temp)
	client, err := mongo.Connect(options.Client().ApplyURI(uri).SetServerSelectionTimeout(500 * time.Millisecond))
	if err != nil {
		t.Fatalf("connecting: %v", err)
	}
	defer client.Disconnect(context.Background()) //nolint:errcheck // it is not connected
	if err := client.Ping(t.Context(), nil); err == nil {
		t.Fatalf("the server at %s outlived its owner", uri)
	}
}

// waitUntilEmpty polls: the watchdog is a process of its own.
func waitUntilEmpty(t *testing.T, dir string) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for tick := time.NewTicker(20 * time.Millisecond); ; {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatalf("reading %s: %v", dir, err)
		}
		if len(entries) == 0 {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("%s still holds %v", dir, entries)
		case <-tick.C:
		}
	}
}
