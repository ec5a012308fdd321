// Package remoting carries frames between nodes in the protocol of
// protoactor-go's remoting: one gRPC stream a direction, batches of envelopes,
// each for a named process. The ends of the streams are its own: those of the
// library sleep for seconds after a refused connection, queue without a bound,
// and let whoever connects reach every actor by name; see docs/decisions/0056.
package remoting

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/remote"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"stampede/cluster"
	"stampede/proto/gen/clusterpb"
)

const (
	// process is the one process of a node that others can send to.
	process = "stampede"
	// maxMessageBytes bounds one message on the wire: a frame may hold one command
	// as large as an actor's largest record.
	maxMessageBytes = 32 << 20
	// handshakeFor is how long who connects may take to show a certificate, and
	// maxStreams how many streams one connection may open: a node opens one.
	handshakeFor = 3 * time.Second
	maxStreams   = 4
	// windowBytes is how much may be on its way before the receiver takes it.
	windowBytes = 4 << 20
)

// Config is where a node is reached and who may reach it.
type Config struct {
	// ID is the node's member: what it says when it is asked who is there.
	ID string
	// Listen is host:port; port 0 takes a free one.
	Listen string
	// Advertise is host:port as other nodes reach it; empty: where it listens. Port
	// 0 stands for the one that was taken.
	Advertise string
	// TLS is required unless Listen is a loopback address or Insecure is set.
	TLS Files
	// ServerName is a name that every node's certificate carries, instead of each
	// the host that it is reached by; empty: the host.
	ServerName string
	Insecure   bool
	Logger     *slog.Logger
}

// Remoting is a node's port. It implements cluster.Transport.
type Remoting struct {
	id      string
	address string
	client  grpc.DialOption
	server  *grpc.Server
	logger  *slog.Logger
	receive atomic.Pointer[func(*clusterpb.Frame)]
	ready   chan struct{} // closed by Serve
	opened  sync.Once
	serving sync.WaitGroup
}

// Listen opens the port. Until Serve it lets nobody in: peers wait, and try again.
func Listen(ctx context.Context, c Config) (*Remoting, error) {
	credentials, err := c.credentials()
	if err != nil {
		return nil, err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", c.Listen)
	if err != nil {
		return nil, fmt.Errorf("--cluster-listen: %w", err)
	}
	address, err := advertised(c, listener.Addr())
	if err != nil {
		listener.Close()
		return nil, err
	}
	r := &Remoting{id: c.ID, address: address, client: grpc.WithTransportCredentials(credentials.client), logger: c.Logger, ready: make(chan struct{})}
	r.server = grpc.NewServer(
		grpc.Creds(credentials.server),
		grpc.MaxRecvMsgSize(maxMessageBytes), grpc.MaxConcurrentStreams(maxStreams), grpc.ConnectionTimeout(handshakeFor),
		grpc.InitialWindowSize(windowBytes), grpc.InitialConnWindowSize(windowBytes),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 10 * time.Second, Timeout: 5 * time.Second}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
		grpc.StreamInterceptor(r.recovered),
	)
	remote.RegisterRemotingServer(r.server, &endpoint{remoting: r})
	r.serving.Go(func() {
		if err := r.server.Serve(listener); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			r.logger.Error("cluster port closed", "error", err)
		}
	})
	return r, nil
}

// advertised is the address that others are told.
func advertised(c Config, bound net.Addr) (string, error) {
	_, boundPort, err := net.SplitHostPort(bound.String())
	if err != nil {
		return "", err
	}
	at := c.Advertise
	if at == "" {
		at = bound.String()
	}
	host, port, err := net.SplitHostPort(at)
	if err != nil {
		return "", fmt.Errorf("--cluster-advertise: %w", err)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "", fmt.Errorf("--cluster-advertise: port %q is no number up to 65535", port)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		return "", fmt.Errorf("--cluster-advertise: it must say how other nodes reach this one: --cluster-listen %s does not", c.Listen)
	}
	if port == "0" {
		port = boundPort
	}
	return net.JoinHostPort(host, port), nil
}

// Address is host:port as other nodes reach this one.
func (r *Remoting) Address() string { return r.address }

// Serve implements cluster.Transport.
func (r *Remoting) Serve(receive func(*clusterpb.Frame)) {
	r.receive.Store(&receive)
	r.opened.Do(func() { close(r.ready) })
}

// Close implements cluster.Transport.
func (r *Remoting) Close() {
	r.server.Stop()
	r.serving.Wait()
}

// recovered keeps what one peer sends from ending the process.
func (r *Remoting) recovered(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) (err error) {
	defer func() {
		if v := recover(); v != nil {
			r.logger.Error("a peer's stream panicked", "panic", v)
			err = status.Error(codes.Internal, "panicked")
		}
	}()
	return handler(srv, stream)
}

// endpoint is the receiving end of the streams of all peers.
type endpoint struct {
	remote.UnimplementedRemotingServer
	remoting *Remoting
}

// Receive implements remote.RemotingServer: one peer's stream. It does not read
// on before what it has read was taken in, so gRPC's flow control holds a peer
// that sends too much.
func (e *endpoint) Receive(stream remote.Remoting_ReceiveServer) error {
	select {
	case <-e.remoting.ready:
	case <-stream.Context().Done():
		return stream.Context().Err()
	}
	for {
		m, err := stream.Recv()
		if err != nil {
			return err
		}
		switch m := m.GetMessageType().(type) {
		case *remote.RemoteMessage_ConnectRequest:
			hello := &remote.RemoteMessage{MessageType: &remote.RemoteMessage_ConnectResponse{ConnectResponse: &remote.ConnectResponse{MemberId: e.remoting.id}}}
			if err := stream.Send(hello); err != nil {
				return err
			}
		case *remote.RemoteMessage_MessageBatch:
			if err := e.take(m.MessageBatch); err != nil {
				return err
			}
		}
	}
}

// take takes in what is meant for the node's process, and of what else there is
// nothing: a peer reaches no actor but by a request, which is checked.
func (e *endpoint) take(batch *remote.MessageBatch) error {
	for _, envelope := range batch.GetEnvelopes() {
		if at(batch.GetTargets(), envelope.GetTarget()) != process || at(batch.GetTypeNames(), envelope.GetTypeId()) != frameType() {
			e.remoting.logger.Warn("a peer sent what this node does not take")
			continue
		}
		f := &clusterpb.Frame{}
		if err := proto.Unmarshal(envelope.GetMessageData(), f); err != nil {
			return status.Error(codes.InvalidArgument, "a frame that cannot be read")
		}
		(*e.remoting.receive.Load())(f)
	}
	return nil
}

func at(names []string, i int32) string {
	if i < 0 || int(i) >= len(names) {
		return ""
	}
	return names[i]
}

func frameType() string { return string((&clusterpb.Frame{}).ProtoReflect().Descriptor().FullName()) }

// Connect implements cluster.Transport.
func (r *Remoting) Connect(ctx context.Context, address string) (cluster.Connection, error) {
	return r.connect(ctx, address)
}

func (r *Remoting) connect(ctx context.Context, address string) (*connection, error) {
	conn, err := grpc.NewClient("passthrough:///"+address,
		r.client,
		grpc.WithDisableRetry(),
		grpc.WithInitialWindowSize(windowBytes), grpc.WithInitialConnWindowSize(windowBytes),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 5 * time.Second, PermitWithoutStream: true}),
	)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", address, err)
	}
	living, end := context.WithCancel(context.WithoutCancel(ctx))
	c := &connection{conn: conn, end: end, lost: make(chan struct{})}
	givingUp := context.AfterFunc(ctx, end)
	if err = c.greet(living, r.id, r.address); err == nil && !givingUp() {
		err = ctx.Err()
	}
	if err != nil {
		end()
		return nil, errors.Join(fmt.Errorf("connect to %s: %w", address, err), conn.Close())
	}
	c.envelope = &remote.MessageEnvelope{}
	c.message = &remote.RemoteMessage{MessageType: &remote.RemoteMessage_MessageBatch{MessageBatch: &remote.MessageBatch{
		TypeNames: []string{frameType()}, Targets: []string{process}, Envelopes: []*remote.MessageEnvelope{c.envelope},
	}}}
	go c.listen()
	return c, nil
}

// connection is one stream to a peer. It implements cluster.Connection.
type connection struct {
	peer   string // who answered
	conn   *grpc.ClientConn
	stream remote.Remoting_ReceiveClient
	end    context.CancelFunc
	lost   chan struct{}

	// What Send says, and the buffer that it is written into: gRPC has copied it
	// when its Send returns.
	message  *remote.RemoteMessage
	envelope *remote.MessageEnvelope
	buffer   []byte
}

// greet opens the stream and waits until the peer has accepted it: only then
// has it accepted this node's certificate.
func (c *connection) greet(ctx context.Context, id, address string) error {
	stream, err := remote.NewRemotingClient(c.conn).Receive(ctx)
	if err != nil {
		return err
	}
	c.stream = stream
	hello := &remote.ConnectRequest{ConnectionType: &remote.ConnectRequest_ServerConnection{ServerConnection: &remote.ServerConnection{MemberId: id, Address: address}}}
	if err := stream.Send(&remote.RemoteMessage{MessageType: &remote.RemoteMessage_ConnectRequest{ConnectRequest: hello}}); err != nil {
		// Why is in what Recv returns.
		if _, why := stream.Recv(); why != nil {
			return why
		}
		return err
	}
	m, err := stream.Recv()
	if err != nil {
		return err
	}
	r := m.GetConnectResponse()
	if r == nil || r.GetBlocked() {
		return errors.New("the peer does not want this node")
	}
	c.peer = r.GetMemberId()
	return nil
}

// listen waits for the end of the stream: the peer says nothing on it.
func (c *connection) listen() {
	defer close(c.lost)
	for {
		m, err := c.stream.Recv()
		if err != nil || m.GetDisconnectRequest() != nil {
			return
		}
	}
}

// Send implements cluster.Connection.
func (c *connection) Send(f *clusterpb.Frame) error {
	var err error
	if c.buffer, err = (proto.MarshalOptions{}).MarshalAppend(c.buffer[:0], f); err != nil {
		return fmt.Errorf("frame: %w", err)
	}
	c.envelope.MessageData = c.buffer
	if err := c.stream.Send(c.message); err != nil {
		return fmt.Errorf("send to %s: %w", f.GetTo(), err)
	}
	if cap(c.buffer) > keepBuffer {
		c.buffer = nil
	}
	return nil
}

// keepBuffer is the largest buffer that a connection keeps.
const keepBuffer = 1 << 20

// Lost implements cluster.Connection.
func (c *connection) Lost() <-chan struct{} { return c.lost }

// Close implements cluster.Connection.
func (c *connection) Close() {
	c.end()
	_ = c.conn.Close() // it was closed before, or is now
}
