package cluster

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"stampede/actors/entity"
	"stampede/cluster/members"
	"stampede/proto/gen/clusterpb"
	"stampede/proto/gen/commonpb"
)

// desk is a Membership of two, a Transport, and the only Connection: it keeps
// what is sent.
type desk struct {
	mu        sync.Mutex
	frames    []*clusterpb.Frame
	refuse    error
	stuck     bool
	lost      chan struct{}
	suspected int
	receive   func(*clusterpb.Frame)
}

func (d *desk) Self() members.Member {
	return members.Member{ID: "a", Address: "a:1", State: members.Up, Roles: []members.Role{members.Gateway}}
}

func (d *desk) View() *members.View {
	return &members.View{Version: 1, Members: []members.Member{d.Self(), {ID: "b", Address: "b:1", State: members.Up, Roles: []members.Role{members.Actors}}}}
}
func (d *desk) Watch(func(*members.View)) func() { return func() {} }
func (d *desk) Fit() error                       { return nil }
func (d *desk) Settled() uint64                  { return 0 }
func (d *desk) Refresh()                         {}
func (d *desk) Drain(context.Context) error      { return nil }
func (d *desk) Leave(context.Context) error      { return nil }

func (d *desk) Suspect(string, members.Finding) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.suspected++
}

func (d *desk) Serve(receive func(*clusterpb.Frame)) { d.receive = receive }

func (d *desk) Connect(context.Context, string) (Connection, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.refuse != nil {
		return nil, d.refuse
	}
	d.lost = make(chan struct{})
	return deskConnection{d, d.lost}, nil
}

// deskConnection gives the desk the two kinds of Close.
type deskConnection struct {
	*desk
	lost chan struct{}
}

func (c deskConnection) Lost() <-chan struct{} { return c.lost }

func (c deskConnection) Send(f *clusterpb.Frame) error {
	c.mu.Lock()
	stuck := c.stuck
	c.mu.Unlock()
	if stuck {
		<-c.lost
		return errors.New("closed")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.frames = append(c.frames, f)
	return nil
}

func (c deskConnection) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.lost:
	default:
		close(c.lost)
	}
}

func (d *desk) Close() {}

// taken returns what was sent since it was last asked, and how many frames that took.
func (d *desk) taken() (requests []*clusterpb.Request, replies []*clusterpb.Reply, frames int) {
	synctest.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, f := range d.frames {
		for _, r := range f.GetRequests() {
			if r.GetType() != typeName(&clusterpb.Ping{}) {
				requests = append(requests, r)
			}
		}
		replies = append(replies, f.GetReplies()...)
	}
	frames = len(d.frames)
	d.frames = nil
	return requests, replies, frames
}

func (d *desk) node(t *testing.T) *Node {
	n := NewMember(discard, nil, nil, DefaultOptions(), MemberConfig{Membership: d, Transport: d})
	t.Cleanup(func() {
		if err := n.Close(t.Context()); err != nil && t.Context().Err() == nil {
			t.Error(err)
		}
	})
	synctest.Wait()
	return n
}

// answers collects what callers were told.
type answers struct {
	mu   sync.Mutex
	errs []error
}

func (a *answers) Answer(_ proto.Message, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.errs = append(a.errs, err)
}

func (a *answers) told() []error {
	synctest.Wait()
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.errs
}

func request(n *Node) *clusterpb.Request {
	r := n.peers.control(&commonpb.Money{MinorUnits: 1}, entity.Address{Kind: "book", ID: "x"}, time.Second)
	r.Ask = false
	return r
}

// bubble runs a test with a node that has one peer.
func bubble(t *testing.T, do func(t *testing.T, d *desk, n *Node, l *link)) {
	synctest.Test(t, func(t *testing.T) {
		d := &desk{}
		n := d.node(t)
		do(t, d, n, n.peers.link("b"))
	})
}

func TestLostConnectionAnswersAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk, n *Node, l *link) {
		a := &answers{}
		for range 3 {
			if err := l.request(request(n), a); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		began := time.Now()
		d.mu.Lock()
		d.refuse = errors.New("refused")
		close(d.lost)
		d.mu.Unlock()
		errs := a.told()
		if len(errs) != 3 || !errors.Is(errs[0], errLost) || time.Since(began) != 0 || d.suspected != 1 {
			t.Errorf("after %s: %v, %d suspicions", time.Since(began), errs, d.suspected)
		}
		if err := l.request(request(n), a); !errors.Is(err, errLost) {
			t.Errorf("a request to a peer that is down: %v", err)
		}
		d.mu.Lock()
		d.refuse = nil
		d.mu.Unlock()
		time.Sleep(time.Second)
		if err := l.request(request(n), a); err != nil {
			t.Errorf("after it has come back: %v", err)
		}
	})
}

func TestSilentPeerIsGivenUp(t *testing.T) {
	for _, stuck := range []bool{false, true} {
		t.Run(fmt.Sprint("takes nothing: ", stuck), func(t *testing.T) {
			bubble(t, func(t *testing.T, d *desk, n *Node, l *link) {
				d.mu.Lock()
				d.stuck = stuck
				d.mu.Unlock()
				a := &answers{}
				if err := l.request(request(n), a); err != nil {
					t.Fatal(err)
				}
				time.Sleep(silentFor - time.Millisecond)
				if errs := a.told(); len(errs) != 0 {
					t.Errorf("too early: %v", errs)
				}
				time.Sleep(silentFor/2 + 2*tickEvery)
				if errs := a.told(); len(errs) != 1 || !errors.Is(errs[0], errLost) {
					t.Errorf("it was told %v", errs)
				}
			})
		})
	}
}

func TestFramesCarryWhatHasGathered(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk, n *Node, l *link) {
		d.taken()
		const requests = 5000
		l.mu.Lock() // nothing leaves meanwhile
		for range requests {
			l.push(outgoing{request: request(n)})
		}
		l.mu.Unlock()
		sent, _, frames := d.taken()
		if least := (requests + maxFrameItems - 1) / maxFrameItems; len(sent) != requests || frames < least || frames > least+1 {
			t.Errorf("%d requests left in %d frames", len(sent), frames)
		}
	})
}

func TestRequestsToAPeerAreBounded(t *testing.T) {
	bubble(t, func(t *testing.T, _ *desk, n *Node, l *link) {
		a := &answers{}
		for i := range maxOpen + 1 {
			if err := l.request(request(n), a); (i < maxOpen) != (err == nil) {
				t.Fatalf("request %d: %v", i, err)
			} else if err != nil && !errors.Is(err, entity.ErrOverloaded) {
				t.Errorf("got %v", err)
			}
		}
		ask := request(n)
		ask.Ask = true
		if err := l.request(ask, a); err != nil {
			t.Errorf("an actor's own question was refused: %v", err)
		}
		waits := request(n)
		waits.Waits = true
		if err := l.request(waits, a); err != nil {
			t.Errorf("a watch was refused: %v", err)
		}
		l.forget(ask.GetId())
		if l.open != [classes]int{maxOpen, 0, 1} {
			t.Errorf("%v are counted", l.open)
		}
	})
}

func TestBytesToAPeerAreBounded(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk, n *Node, l *link) {
		d.mu.Lock()
		d.stuck = true
		d.mu.Unlock()
		a, refused := &answers{}, 0
		for range 64 {
			r := request(n)
			r.Command = make([]byte, 1<<20)
			if err := l.request(r, a); errors.Is(err, entity.ErrOverloaded) {
				refused++
			}
		}
		if accepted := 64 - refused; accepted > maxQueuedBytes>>20+2 || refused == 0 {
			t.Errorf("%d MiB wait, %d refused", accepted, refused)
		}
	})
}

// What another release might send is refused by name, and the rest of the frame
// is served.
func TestWhatANodeDoesNotKnow(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk, n *Node, l *link) {
		d.taken()
		ok := n.peers.control(&clusterpb.Ping{}, entity.Address{}, time.Second)
		ok.Id = 3
		d.receive(&clusterpb.Frame{From: "b", To: "a", View: 1, Requests: []*clusterpb.Request{
			{Id: 1, Type: "stampede.cluster.v9.Teleport", TimeoutMs: 1000},
			{Id: 2, Type: typeName(&clusterpb.Release{}), Command: []byte{0xff}, TimeoutMs: 1000},
			ok,
			{Id: 4, Kind: "book", Key: "x", Type: typeName(&commonpb.Money{}), TimeoutMs: 1000},
		}})
		_, replies, _ := d.taken()
		got := map[uint64]clusterpb.Code{}
		for _, r := range replies {
			got[r.GetId()] = r.GetCode()
			if r.GetId() == 1 && !strings.Contains(r.GetText(), "Teleport") {
				t.Errorf("%q does not name the command", r.GetText())
			}
		}
		want := map[uint64]clusterpb.Code{
			1: clusterpb.Code_CODE_UNKNOWN_COMMAND, 2: clusterpb.Code_CODE_INTERNAL, 3: clusterpb.Code_CODE_OK, 4: clusterpb.Code_CODE_NOT_OWNER,
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("got %v, want %v", got, want)
		}
		if len(l.inbound) != 0 || l.taken != [classes]int{} {
			t.Errorf("%d requests are still counted", len(l.inbound))
		}
		d.receive(&clusterpb.Frame{From: "b", To: "somebody else", Requests: []*clusterpb.Request{ok}})
		if _, replies, _ := d.taken(); len(replies) != 0 {
			t.Error("a frame for another member was answered")
		}
	})
}

// What can go wrong is the same error on both sides, with its words.
func TestErrorsCrossTheWire(t *testing.T) {
	corrupt := &entity.CorruptError{Stream: "sku/x", Seq: 7, Reason: "bad checksum"}
	for _, err := range []error{
		entity.ErrFenced, entity.ErrUnavailable, entity.ErrUnknownOutcome, entity.ErrTooLarge, entity.ErrOverloaded, entity.ErrRetry,
		entity.ErrTimeout, entity.ErrUnknownKind, errNotOwner, errUnknownCommand, entity.ErrCorrupt, corrupt,
	} {
		wrapped := fmt.Errorf("somewhere: %w", err)
		_, got := answerOf("b", replyOf(1, nil, wrapped))
		is := err
		if errors.Is(err, entity.ErrCorrupt) {
			is = entity.ErrCorrupt
		}
		if !errors.Is(got, is) || entity.Retryable(got) != entity.Retryable(err) || again(got) != again(err) || !strings.Contains(got.Error(), wrapped.Error()) {
			t.Errorf("%v became %v", wrapped, got)
		}
	}
	if _, got := answerOf("b", replyOf(1, nil, errors.New("actor panicked"))); got == nil || entity.Retryable(got) {
		t.Errorf("a defect became %v", got)
	}
	if _, got := answerOf("b", &clusterpb.Reply{Code: 99}); !entity.Retryable(got) {
		t.Errorf("a code of a later release became %v", got)
	}
	m, err := answerOf("b", replyOf(1, &commonpb.Money{MinorUnits: 7}, nil))
	if err != nil || m.(*commonpb.Money).MinorUnits != 7 {
		t.Errorf("an answer became %v, %v", m, err)
	}
}

// Whoever is not in the view is forgotten when it has been silent for a while,
// and there is a bound to how many of them are known at a time.
func TestStrangersAreForgotten(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk, n *Node, _ *link) {
		hello := func(i int) {
			d.receive(&clusterpb.Frame{From: fmt.Sprint("stranger ", i), Address: "nowhere:1", To: "a", View: 1})
		}
		for i := range 2 * maxLinks {
			hello(i)
		}
		if known := len(n.peers.all()); known != maxLinks {
			t.Errorf("%d ways to others, want %d", known, maxLinks)
		}
		time.Sleep(strangerFor - time.Second)
		hello(0)
		time.Sleep(2 * time.Second)
		if known := len(n.peers.all()); known != 2 {
			t.Errorf("%d ways to others, want those to the member and to the stranger that still speaks", known)
		}
		time.Sleep(strangerFor)
		if known := len(n.peers.all()); known != 1 {
			t.Errorf("%d ways to others, want that to the member", known)
		}
	})
}

// The answer to a release may come when the claim that asked has been settled
// and another one made.
func TestLateAnswerToARelease(t *testing.T) {
	bubble(t, func(t *testing.T, _ *desk, n *Node, _ *link) {
		c, addr := &n.peers.claims, entity.Address{Kind: "book", ID: "x"}
		c.mu.Lock()
		c.all[addr] = &claim{}
		c.mu.Unlock()
		c.answered(addr, "b", 1, errLost)
		c.mu.Lock()
		defer c.mu.Unlock()
		if !c.all[addr].asked["b"].IsZero() {
			t.Error("a claim that has asked nobody waits to ask again")
		}
		delete(c.all, addr)
	})
}
