// Package benchmarks measures the engine beside what it replaces: one hot SKU
// against a conditional update of one row or document, in the same run and on
// the same machine, so that the ratio holds on any machine.
//
//	make bench
package benchmarks

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"

	"stampede/actors"
	"stampede/actors/entity"
	"stampede/actors/order"
	"stampede/cluster"
	"stampede/internal/testservers"
	"stampede/persistence"
	"stampede/persistence/commitlog"
	mongostore "stampede/persistence/mongo"
	"stampede/persistence/sqlite"
	"stampede/proto/gen/commonpb"
	"stampede/proto/gen/skupb"
)

// callers is how many ask at once, as in the sale that this is about.
const callers = 64

func TestMain(m *testing.M) { testservers.Main(m) }

// databases numbers the databases of one run: each starts empty.
var databases atomic.Int64

// BenchmarkHotSKU takes units of one SKU, each durable before its answer.
func BenchmarkHotSKU(b *testing.B) {
	b.Run("engine=sqlite", func(b *testing.B) {
		store, err := sqlite.Open(b.Context(), b.TempDir())
		if err != nil {
			b.Fatal(err)
		}
		hotSKU(b, store)
	})
	b.Run("engine=postgres-update", func(b *testing.B) { postgresUpdate(b, testservers.Postgres(b)) })
	b.Run("engine=mongo", func(b *testing.B) {
		store, err := mongostore.Open(b.Context(), testservers.Mongo(b), fmt.Sprintf("engine%d", databases.Add(1)))
		if err != nil {
			b.Fatal(err)
		}
		hotSKU(b, store)
	})
	b.Run("engine=mongo-findOneAndUpdate", func(b *testing.B) { mongoUpdate(b, testservers.Mongo(b)) })
}

// node is a cluster of one over the store.
func node(b *testing.B, store persistence.Store) (*cluster.Node, *commitlog.Log) {
	b.Helper()
	return nodeOver(b, store, func(log entity.Log) entity.Log { return log })
}

// nodeOver has its actors commit to what through makes of the log.
func nodeOver(b *testing.B, store persistence.Store, through func(entity.Log) entity.Log) (*cluster.Node, *commitlog.Log) {
	b.Helper()
	quiet := slog.New(slog.DiscardHandler)
	log, err := commitlog.Open(b.Context(), store, "bench", commitlog.Options{})
	if err != nil {
		b.Fatal(err)
	}
	rt := &entity.Runtime{Log: through(log), Store: store, Clock: time.Now, Logger: quiet, Limits: entity.DefaultLimits()}
	o := cluster.DefaultOptions()
	o.SweepEvery, o.PassivateAfter = time.Hour, time.Hour
	n := cluster.NewNode(quiet, actors.Kinds(rt), nil, o)
	b.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		for _, err := range []error{n.Close(ctx), log.Close(ctx), store.Close()} {
			if err != nil {
				b.Error(err)
			}
		}
	})
	return n, log
}

// perSKU is how many orders one SKU gets before the next one is the hot one:
// fewer than the allocations that a SKU may have at a time.
const perSKU = 200_000

// hotSKU reserves one unit of a SKU an operation.
func hotSKU(b *testing.B, store persistence.Store) {
	n, log := node(b, store)
	expires := time.Now().Add(time.Hour).UnixMilli()
	for i := 0; i <= b.N; i += perSKU {
		_, err := n.Call(b.Context(), hot(i), &skupb.Configure{
			ProductId: "prd_hot", ProductVersion: 1, Name: "hot", Active: true, InitialStock: perSKU,
			Price: &commonpb.Money{MinorUnits: 1990, Currency: "EUR"},
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	var next atomic.Int64
	before := log.Stats()
	together(b, func() error {
		i := int(next.Add(1)) - 1
		reply, err := n.Call(b.Context(), hot(i), &skupb.Reserve{
			OrderId: order.ID("usr_bench", strconv.Itoa(i)), CustomerId: "usr_bench", Quantity: 1, ExpiresAtMs: expires,
		})
		if err == nil && reply.(*skupb.ReserveReply).Refusal != nil {
			err = fmt.Errorf("refused: %v", reply)
		}
		return err
	})
	b.ReportMetric(float64(b.N)/float64(log.Stats().Durable-before.Durable), "orders/record")
}

func hot(i int) entity.Address {
	return entity.Address{Kind: "sku", ID: "hot-" + strconv.Itoa(i/perSKU)}
}

// postgresUpdate is what a service does that keeps the stock in a row.
func postgresUpdate(b *testing.B, dsn string) {
	config, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		b.Fatal(err)
	}
	config.MaxConns = callers
	pool, err := pgxpool.NewWithConfig(b.Context(), config)
	if err != nil {
		b.Fatal(err)
	}
	defer pool.Close()
	var mode string
	if err := pool.QueryRow(b.Context(), "SHOW synchronous_commit").Scan(&mode); err != nil || mode != "on" {
		b.Fatalf("synchronous_commit is %q: %v", mode, err)
	}
	for _, q := range []string{
		"CREATE TABLE IF NOT EXISTS stock (sku text PRIMARY KEY, units bigint NOT NULL)",
		"INSERT INTO stock VALUES ('hot', 1000000000) ON CONFLICT DO NOTHING",
	} {
		if _, err := pool.Exec(b.Context(), q); err != nil {
			b.Fatal(err)
		}
	}
	together(b, func() error {
		tag, err := pool.Exec(b.Context(), "UPDATE stock SET units = units - 1 WHERE sku = 'hot' AND units >= 1")
		if err == nil && tag.RowsAffected() != 1 {
			err = fmt.Errorf("%d rows", tag.RowsAffected())
		}
		return err
	})
}

// mongoUpdate is the same with a document.
func mongoUpdate(b *testing.B, uri string) {
	client, err := mongo.Connect(options.Client().ApplyURI(uri))
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = client.Disconnect(context.Background()) }() // the benchmark is over either way
	journalled := true
	stock := client.Database("comparison").Collection("stock", options.Collection().SetWriteConcern(&writeconcern.WriteConcern{W: "majority", Journal: &journalled}))
	if _, err := stock.UpdateOne(b.Context(), bson.M{"_id": "hot"}, bson.M{"$set": bson.M{"units": 1_000_000_000}}, options.UpdateOne().SetUpsert(true)); err != nil {
		b.Fatal(err)
	}
	together(b, func() error {
		return stock.FindOneAndUpdate(b.Context(), bson.M{"_id": "hot", "units": bson.M{"$gte": 1}}, bson.M{"$inc": bson.M{"units": -1}}).Err()
	})
}

// together runs do b.N times from all callers and reports operations a second.
func together(b *testing.B, do func() error) {
	b.Helper()
	var left atomic.Int64
	left.Store(int64(b.N))
	failed := make(chan error, callers)
	b.ResetTimer()
	start := time.Now()
	for range callers {
		go func() {
			for left.Add(-1) >= 0 {
				if err := do(); err != nil {
					failed <- err
					return
				}
			}
			failed <- nil
		}()
	}
	for range callers {
		if err := <-failed; err != nil {
			b.Error(err)
		}
	}
	b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "ops/s")
}

// processCPU is the processor time that this process has used.
func processCPU(b *testing.B) time.Duration {
	b.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
