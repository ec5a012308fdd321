package cluster_test

// Nodes as processes of their own: this test's binary, started again. They
// share a journal and a table of members that the test serves on a socket, and
// each takes calls on a socket of its own.

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/rpc"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"stampede/actors/entity"
	"stampede/cluster"
	"stampede/cluster/members"
	"stampede/cluster/membership"
	"stampede/cluster/remoting"
	"stampede/proto/gen/commonpb"
)

// The real membership is what a node asks for.
var _ cluster.Membership = (*membership.Service)(nil)

func TestMain(m *testing.M) {
	if id := os.Getenv("STAMPEDE_TEST_NODE"); id != "" {
		if err := runNode(id, os.Getenv("STAMPEDE_TEST_TOWN"), os.Getenv("STAMPEDE_TEST_ROLES")); err != nil {
			fmt.Fprintln(os.Stderr, id, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// runNode is a process: a node until its standard input ends.
func runNode(id, town, roles string) error {
	client, err := rpc.Dial("unix", town)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	port, err := remoting.Listen(context.Background(), remoting.Config{Listen: "127.0.0.1:0", Logger: log})
	if err != nil {
		return err
	}
	t := &townsman{rpc: client, self: members.Member{ID: id, Name: id, Address: port.Address(), State: members.Up}}
	for role := range strings.SplitSeq(roles, ",") {
		t.self.Roles = append(t.self.Roles, members.Role(role))
	}
	t.seen.Store(&members.View{})
	if err := t.call("Join", t.self, &None{}); err != nil {
		return err
	}
	go func() {
		if err := t.follow(); err != nil && !errors.Is(err, rpc.ErrShutdown) {
			os.Exit(0) // the test has ended
		}
	}()
	for end := time.Now().Add(time.Minute); t.View().Find(id) == nil; {
		if time.Now().After(end) {
			return errors.New("it never saw itself in the table")
		}
		time.Sleep(time.Millisecond) //nolint:forbidigo // waits for another process, with a deadline
	}
	shared := &entity.Runtime{Log: t, Store: t, Clock: time.Now, Logger: log, Limits: entity.DefaultLimits()}
	own := newDisk() // of the benchmark's actors, which belong to this process
	private := &entity.Runtime{Log: own, Store: own, Clock: time.Now, Logger: log, Limits: entity.DefaultLimits()}
	kinds := []entity.Spawner{told(t, entity.Bind(shared, guestBook())), entity.Bind(private, accounts())}
	n := cluster.NewMember(log, kinds, nil, cluster.DefaultOptions(), cluster.MemberConfig{Membership: t, Transport: port, Grace: time.Minute}) // a busy machine does not make a second owner
	socket := town + "." + id
	control, err := serveRPC("Node", &Process{node: n}, socket)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return errors.Join(n.Close(ctx), control.Close(), os.RemoveAll(socket))
}

// told has the activations of a kind told to the witness.
func told(t *townsman, s entity.Spawner) entity.Spawner {
	props := s.Props
	s.Props = func(id string, ended func(), window *entity.Window) *actor.Props {
		addr := entity.Address{Kind: s.Kind, ID: id}
		if err := t.started(addr); err != nil {
			panic(err)
		}
		return props(id, func() {
			if err := t.ended(addr); err != nil {
				panic(err)
			}
			ended()
		}, window)
	}
	return s
}

// Process is what a test asks of a node's process. Its methods are net/rpc's.
type Process struct{ node *cluster.Node }

// Signing is a name for a book.
type Signing struct{ Book, Name string }

// Sign signs a book.
func (p *Process) Sign(s Signing, place *int64) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	reply, err := p.node.Call(ctx, entity.Address{Kind: "book", ID: s.Book}, &commonpb.Money{Currency: s.Name})
	*place = reply.(*commonpb.Money).GetMinorUnits()
	return err
}

// Load is how hard an account is asked.
type Load struct {
	Callers int
	For     time.Duration
}

// Ask asks the account alice from many goroutines, and returns how often it answered.
func (p *Process) Ask(l Load, answers *int64) error {
	var n atomic.Int64
	var failed atomic.Pointer[error]
	var callers sync.WaitGroup
	end := time.Now().Add(l.For)
	for range l.Callers {
		callers.Go(func() {
			for time.Now().Before(end) {
				if _, err := p.node.Call(context.Background(), alice, add(1)); err != nil {
					failed.Store(&err)
					return
				}
				n.Add(1)
			}
		})
	}
	callers.Wait()
	*answers = n.Load()
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}

// CPU is the processor time that the process has taken.
func (p *Process) CPU(_ None, taken *time.Duration) error {
	var use syscall.Rusage
	err := syscall.Getrusage(syscall.RUSAGE_SELF, &use)
	*taken = time.Duration(use.Utime.Nano() + use.Stime.Nano())
	return err
}

// Fill brings so many actors into memory, wherever they are owned.
func (p *Process) Fill(actors int, _ *None) error {
	return p.each(actors, func(addr entity.Address) error {
		_, err := p.node.Call(context.Background(), addr, add(1))
		return err
	})
}

func (p *Process) each(actors int, do func(entity.Address) error) error {
	var failed atomic.Pointer[error]
	var callers sync.WaitGroup
	for c := range 64 {
		callers.Go(func() {
			for i := c; i < actors; i += 64 {
				if err := do(entity.Address{Kind: "account", ID: fmt.Sprint("a", i)}); err != nil {
					failed.Store(&err)
					return
				}
			}
		})
	}
	callers.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}

// Active is how many actors are in the process's memory.
func (p *Process) Active(_ None, n *int) error {
	*n = p.node.Active()["account"]
	return nil
}

// TestProcesses: three nodes as processes answer every book by way of each of
// them. One joins and one is drained without a single failed request; one is
// killed, and every request is answered when it is asked again. No two living
// nodes ever have one book.
func TestProcesses(t *testing.T) {
	h := openTown(t)
	all := "gateway,actors,publisher"
	nodes := []*resident{h.start("n0", all), h.start("n1", all), h.start("gateway", "gateway")}
	gateway := nodes[2]
	var mu sync.Mutex
	places := map[Signing]int64{}
	crashing := atomic.Bool{}
	stop := make(chan struct{})
	var clients sync.WaitGroup
	var longest time.Duration
	for c := range 8 {
		clients.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				s := Signing{fmt.Sprint("book-", i%40), fmt.Sprint("guest ", c)}
				began := time.Now()
				var place int64
				if err := gateway.Call("Node.Sign", s, &place); err != nil {
					if !crashing.Load() {
						t.Errorf("%v: %v", s, err)
					}
					continue
				}
				mu.Lock()
				if before, again := places[s]; again && before != place {
					t.Errorf("%v had place %d, and now %d", s, before, place)
				}
				places[s] = place
				longest = max(longest, time.Since(began))
				mu.Unlock()
			}
		})
	}
	answered := func(what string) {
		mu.Lock()
		t.Logf("%s: the longest wait was %s", what, longest)
		longest = 0
		mu.Unlock()
	}
	// for waits until so many more moves of books were seen.
	settle := func(what string, done func() bool) {
		t.Helper()
		eventually(t, what, done)
		answered(what)
	}
	moved := func(from int) func() bool {
		return func() bool {
			h.witness.mu.Lock()
			defer h.witness.mu.Unlock()
			return h.witness.moves >= from
		}
	}
	settle("40 books to be opened", moved(40))
	nodes = append(nodes, h.start("n2", all))
	settle("the newcomer's share to move", moved(45))
	nodes[0].drain()
	settle("the drained node's share to move", moved(55))
	crashing.Store(true)
	nodes[1].kill()
	settle("the killed node's share to move", moved(65))
	close(stop)
	clients.Wait()
	for _, p := range h.witness.problems {
		t.Error(p)
	}
	nodes[3].drain()
	gateway.drain()
}

// BenchmarkRemoteHotActor asks one actor from another process, and beside it
// from its own. The log is in memory: this measures the way there and back.
// Processor time is of all processes, and less noisy than the clock.
func BenchmarkRemoteHotActor(b *testing.B) {
	h := openTown(b)
	owner, other := h.start("owner", "actors"), h.start("other", "gateway")
	load := Load{Callers: 256, For: 3 * time.Second}
	for b.Loop() {
		cpu := func() (sum time.Duration) {
			for _, r := range []*resident{owner, other} {
				var taken time.Duration
				if err := r.Call("Node.CPU", None{}, &taken); err != nil {
					b.Fatal(err)
				}
				sum += taken
			}
			return sum
		}
		var local, far int64
		before := cpu()
		err := owner.Call("Node.Ask", load, &local)
		between := cpu()
		err = errors.Join(err, other.Call("Node.Ask", load, &far))
		after := cpu()
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64((between-before).Microseconds())/float64(local), "local-cpu-us")
		b.ReportMetric(float64((after-between).Microseconds())/float64(far), "remote-cpu-us")
		b.ReportMetric(float64(local)/load.For.Seconds(), "local/s")
		b.ReportMetric(float64(far)/load.For.Seconds(), "remote/s")
		b.ReportMetric(100*float64(far)/float64(local), "%of-local")
	}
	b.ReportMetric(0, "ns/op")
	other.drain()
	owner.drain()
}

// BenchmarkHandOver moves 100,000 actors: all of a node that is drained.
func BenchmarkHandOver(b *testing.B) {
	for b.Loop() {
		h := openTown(b)
		owner := h.start("a", "gateway,actors")
		const actors = 100_000
		if err := owner.Call("Node.Fill", actors, &None{}); err != nil {
			b.Fatal(err)
		}
		heir := h.start("b", "gateway,actors")
		began := time.Now()
		owner.drain()
		b.ReportMetric(time.Since(began).Seconds(), "s/100k")
		heir.drain()
	}
	b.ReportMetric(0, "ns/op")
}
