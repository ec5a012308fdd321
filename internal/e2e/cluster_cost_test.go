package e2e

// What an order costs with one node and with several, at the same rate and at
// full load. Counted for the cost are the node processes alone, in user and
// system time; what MongoDB and Kafka use for the same orders stands beside it,
// and the shoppers, who are the test itself, are not counted.
//
//	go test ./internal/e2e -run='^$' -bench=ClusterCost -benchtime=3x -v
//	… -cluster-profiles=DIR keeps a CPU profile of each node
//	… -cluster-program=FILE measures another build, to compare with in turns

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"stampede/internal/testservers"
)

var (
	clusterProfiles = flag.String("cluster-profiles", "", "a folder for CPU profiles of the nodes in BenchmarkClusterCost")
	clusterProgram  = flag.String("cluster-program", "", "the stampede that BenchmarkClusterCost measures, instead of one built from here")
)

const (
	// idleFor is how long nodes are watched that have nothing to do.
	idleFor = 4 * time.Second
	// costOrders are taken in an iteration.
	costOrders = 2_000
	// costCustomers are the users that all shoppers are: so many that nobody's
	// budget is used up.
	costCustomers = 64
	// crowd is as many shoppers as wait at once when there is really something to get.
	crowd = 256
	// steady is a rate in orders a second that one node can do as well as five,
	// beside MongoDB, Kafka and the shoppers.
	steady = 250
)

// BenchmarkClusterCost is the processor time of all nodes for 1,000 orders, with
// one, three and five of them.
//
// At full load nothing waits but for the processors: the figure is what an order
// takes. At a steady rate, the same for all, most of a node's time goes into
// work that orders share when there are more of them (a write, a batch for
// Kafka, a system call), and with more nodes fewer orders share it.
func BenchmarkClusterCost(b *testing.B) {
	for _, nodes := range []int{1, 3, 5} {
		for _, at := range costLoads() {
			b.Run(fmt.Sprintf("%s/%d", at.name, nodes), func(b *testing.B) { clusterCost(b, nodes, at) })
		}
	}
}

// costLoad is so many shoppers, who place so many orders a second at most.
type costLoad struct {
	name      string
	shoppers  int
	perSecond float64
}

func costLoads() []costLoad {
	return []costLoad{{"crowd", crowd, unlimited}, {"full", benchShoppers, unlimited}, {strconv.Itoa(steady), benchShoppers, steady}}
}

func clusterCost(b *testing.B, nodes int, at costLoad) {
	f := costFleet(b, nodes)
	l := newLoadOf(b, f, at.perSecond, benchStock, costCustomers)
	l.ordersOnly = true
	idle := f.processorTime()
	pause(b.Context(), idleFor)
	idle = (f.processorTime() - idle) / idleFor.Seconds()
	l.start(at.shoppers)
	l.more(500) // warm
	f.profile(l, fmt.Sprintf("%s-%d", at.name, nodes))
	var used spent
	failed := l.failures()
	for b.Loop() {
		before, ordered := f.spend(), l.ordered.Load()
		l.more(costOrders)
		used.add(f.spend(), before, float64(l.ordered.Load()-ordered))
	}
	failed = l.failures() - failed
	l.stop()
	used.report(b)
	b.ReportMetric(idle, "idle-cpu-s/s")
	b.ReportMetric(float64(failed), "failed-attempts")
	f.stop()
}

// costFleet is a cluster of the build that is to be measured.
func costFleet(b *testing.B, nodes int) *fleet {
	b.Helper()
	if *clusterProgram == "" {
		return startFleet(b, nodes)
	}
	f := newFleet(b, "")
	for i := range nodes {
		f.startProgram(*clusterProgram, fmt.Sprintf("n%d", i))
	}
	f.settled()
	return f
}

// spent is what orders took. Nodes, mongo and kafka are processor time in
// seconds, work is what the nodes count.
type spent struct {
	at                  time.Time
	orders, wall        float64
	nodes, mongo, kafka float64
	work                map[string]float64
}

// counted are the nodes' counters that say how work is shared, and what they are
// called here.
func counted() map[string]string {
	return map[string]string{
		"stampede_commit_batches_total":                     "writes",
		`stampede_commit_records_total{outcome="durable"}`:  "records",
		"stampede_cluster_frames_total":                     "frames",
		`stampede_cluster_requests_total{direction="sent"}`: "remote-calls",
		"stampede_events_batch_records_count":               "kafka-batches",
		"stampede_events_batch_records_sum":                 "kafka-messages",
		"stampede_views_rows_written_total":                 "view-rows",
		"go_gc_duration_seconds_count":                      "collections",
	}
}

// spend reads what was spent so far.
func (f *fleet) spend() spent {
	f.t.Helper()
	pids := testservers.Pids()
	now := spent{at: time.Now(), nodes: f.processorTime(), work: map[string]float64{}}
	for _, n := range f.living() {
		_, text := get(f.t, n.admin+"/metrics")
		for line := range strings.Lines(text) {
			at := strings.LastIndexByte(line, ' ')
			if at < 0 || line[0] == '#' {
				continue
			}
			short, ok := counted()[line[:at]]
			if name, _, labels := strings.Cut(line[:at], "{"); !ok && labels {
				short, ok = counted()[name]
			}
			if !ok {
				continue
			}
			v, err := strconv.ParseFloat(strings.TrimSpace(line[at:]), 64)
			if err != nil {
				f.t.Fatalf("%s: %v", line, err)
			}
			now.work[short] += v
		}
	}
	for name, to := range map[string]*float64{"MongoDB": &now.mongo, "Kafka": &now.kafka} {
		if pid := pids[name]; pid != 0 {
			*to = processorTimeOf(f.t, pid)
		}
	}
	return now
}

// add counts what was spent between two readings, for so many orders.
func (s *spent) add(after, before spent, orders float64) {
	s.orders += orders
	s.wall += after.at.Sub(before.at).Seconds()
	s.nodes += after.nodes - before.nodes
	s.mongo += after.mongo - before.mongo
	s.kafka += after.kafka - before.kafka
	if s.work == nil {
		s.work = map[string]float64{}
	}
	for name, v := range after.work {
		s.work[name] += v - before.work[name]
	}
}

func (s *spent) report(b *testing.B) {
	b.Helper()
	each := 1000 / s.orders
	b.ReportMetric(s.nodes*each, "cpu-s/1000-orders")
	b.ReportMetric(s.mongo*each, "mongo-cpu-s/1000-orders")
	b.ReportMetric(s.kafka*each, "kafka-cpu-s/1000-orders")
	b.ReportMetric(s.orders/s.wall, "orders/s")
	b.ReportMetric(0, "ns/op")
	var work []string
	for _, name := range slices.Sorted(maps.Keys(s.work)) {
		work = append(work, fmt.Sprintf("%s %.0f", name, s.work[name]*each))
	}
	b.Logf("for 1,000 orders: %s", strings.Join(work, ", "))
}

// processorTime is what all living nodes have used, in seconds.
func (f *fleet) processorTime() float64 {
	f.t.Helper()
	var sum float64
	for _, n := range f.living() {
		sum += processorTimeOf(f.t, n.cmd.Process.Pid)
	}
	return sum
}

// processorTimeOf is what a process has used, in seconds.
func processorTimeOf(t testing.TB, pid int) float64 {
	t.Helper()
	const ticksPerSecond = 100 // USER_HZ, which is 100 wherever Linux runs Go
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Skipf("processor time is read from /proc: %v", err)
	}
	var ticks float64
	// The name, in brackets, may hold blanks; utime and stime are the 12th and 13th after it.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	for _, field := range fields[11:13] {
		v, err := strconv.ParseFloat(field, 64)
		if err != nil {
			t.Fatal(err)
		}
		ticks += v
	}
	return ticks / ticksPerSecond
}

// profileFor is how long nodes are profiled.
const profileFor = 5 * time.Second

// profile takes a profile of each node at work, if they are wanted.
func (f *fleet) profile(l *load, name string) {
	f.t.Helper()
	if *clusterProfiles == "" {
		return
	}
	ordered := l.ordered.Load()
	var taking sync.WaitGroup
	for _, n := range f.living() {
		file := filepath.Join(*clusterProfiles, fmt.Sprintf("%s-%s.pprof", name, n.name))
		taking.Go(func() {
			if err := profile(f.t, n.admin, file); err != nil {
				f.t.Errorf("profile of %s: %v", n.name, err)
			}
		})
	}
	taking.Wait()
	f.t.Logf("profiles of %d orders", l.ordered.Load()-ordered)
}

func profile(t testing.TB, admin, file string) (err error) {
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("%s/debug/pprof/profile?seconds=%d", admin, int(profileFor.Seconds())), nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(out)
	_, err = io.Copy(w, answer.Body)
	return errors.Join(err, w.Flush(), out.Close())
}
