package remoting_test

// What a probe says of a member, by real sockets: that it is there, that its
// process is surely gone, or that nobody can tell.

import (
	"context"
	"net"
	"testing"
	"time"

	"stampede/cluster/members"
	"stampede/cluster/remoting"
	"stampede/proto/gen/clusterpb"
)

func TestProbe(t *testing.T) {
	ours, theirs := newAuthority(t), newAuthority(t)
	prober := listen(t, remoting.Config{ID: "mem_prober", TLS: ours.issue(t, time.Hour)})
	serving := func(c remoting.Config) string {
		r := listen(t, c)
		r.Serve(func(*clusterpb.Frame) {})
		return r.Address()
	}
	there := serving(remoting.Config{ID: "mem_there", TLS: ours.issue(t, time.Hour)})
	closed := listen(t, remoting.Config{})
	closed.Close()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	for name, c := range map[string]struct {
		id, address string
		patience    time.Duration
		want        members.Finding
	}{
		"the member itself":       {"mem_there", there, time.Minute, members.Answers},
		"another in its place":    {"mem_before", there, time.Minute, members.Gone},
		"a closed port":           {"mem_there", closed.Address(), time.Minute, members.Gone},
		"another's certificate":   {"mem_there", serving(remoting.Config{ID: "mem_there", TLS: theirs.issue(t, time.Hour)}), time.Minute, members.Unreachable},
		"no certificate":          {"mem_there", serving(remoting.Config{ID: "mem_there"}), time.Minute, members.Unreachable},
		"one that says nothing":   {"mem_there", silent.Addr().String(), 300 * time.Millisecond, members.Unreachable},
		"one that does not serve": {"mem_there", listen(t, remoting.Config{ID: "mem_there", TLS: ours.issue(t, time.Hour)}).Address(), 300 * time.Millisecond, members.Unreachable},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), c.patience)
			defer cancel()
			if got := prober.Probe(ctx, members.Member{ID: c.id, Address: c.address}); got != c.want {
				t.Errorf("found %v, want %v", got, c.want)
			}
		})
	}
}
