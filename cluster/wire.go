package cluster

// This file is how commands, answers and errors are said between nodes. What
// goes wrong has a code on the way; the table is the only place that maps them.

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"stampede/actors/entity"
	"stampede/proto/gen/clusterpb"
)

var (
	// errNotOwner: the node that was asked does not own the address by its newest view.
	errNotOwner = fmt.Errorf("%w: the actor is another node's", entity.ErrRetry)
	// errUnknownCommand: the owner is of a release that does not know the command.
	errUnknownCommand = fmt.Errorf("%w: the actor's node is of another release and does not know the command", entity.ErrUnavailable)
	// errLost: the connection to the owner broke, and with it all that was under way.
	errLost = fmt.Errorf("%w: the connection to the actor's node was lost", entity.ErrTimeout)
	// errNoOwner: no member hosts actors.
	errNoOwner = fmt.Errorf("%w: no node of the cluster hosts actors", entity.ErrUnavailable)
	// errStale: a newer view is known to exist, and has not been read yet.
	errStale = fmt.Errorf("%w: the node is reading who belongs to the cluster", entity.ErrRetry)
	// errUnfit: this node's lease does not hold.
	errUnfit = fmt.Errorf("%w: the node may not decide", entity.ErrUnavailable)
)

type coded struct {
	code clusterpb.Code
	err  error
}

// codes maps what can go wrong to its code and back. Of several that fit, the
// first counts: what is said more exactly stands before what it wraps.
func codes() [12]coded {
	return [...]coded{
		{clusterpb.Code_CODE_NOT_OWNER, errNotOwner},
		{clusterpb.Code_CODE_UNKNOWN_COMMAND, errUnknownCommand},
		{clusterpb.Code_CODE_UNKNOWN_KIND, entity.ErrUnknownKind},
		{clusterpb.Code_CODE_CORRUPT, entity.ErrCorrupt},
		{clusterpb.Code_CODE_TOO_LARGE, entity.ErrTooLarge},
		{clusterpb.Code_CODE_OVERLOADED, entity.ErrOverloaded},
		{clusterpb.Code_CODE_FENCED, entity.ErrFenced},
		{clusterpb.Code_CODE_UNKNOWN_OUTCOME, entity.ErrUnknownOutcome},
		{clusterpb.Code_CODE_UNAVAILABLE, entity.ErrUnavailable},
		{clusterpb.Code_CODE_TIMEOUT, entity.ErrTimeout},
		{clusterpb.Code_CODE_RETRY, entity.ErrRetry},
		{clusterpb.Code_CODE_INTERNAL, nil},
	}
}

func codeOf(err error) clusterpb.Code {
	if err == nil {
		return clusterpb.Code_CODE_OK
	}
	for _, c := range codes() {
		if c.err != nil && errors.Is(err, c.err) {
			return c.code
		}
	}
	return clusterpb.Code_CODE_INTERNAL
}

// remoteError is what went wrong on another node.
type remoteError struct {
	node, text string
	is         error // of the table; nil: not worth sending again
}

func (e *remoteError) Error() string { return e.node + ": " + e.text }
func (e *remoteError) Unwrap() error { return e.is }

func errorOf(node string, r *clusterpb.Reply) error {
	is := entity.ErrRetry // a code of a later release: whatever it was, the caller may try again
	for _, c := range codes() {
		if c.code == r.GetCode() {
			is = c.err
			break
		}
	}
	return &remoteError{node: node, text: r.GetText(), is: is}
}

// decode makes the message of that type. A node of another release may not
// know it.
func decode(typeName string, data []byte) (proto.Message, error) {
	t, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName(typeName))
	if err != nil {
		return nil, fmt.Errorf("%w: %q", errUnknownCommand, typeName)
	}
	m := t.New().Interface()
	if err := proto.Unmarshal(data, m); err != nil {
		return nil, fmt.Errorf("%q: %w", typeName, err)
	}
	return m, nil
}

func typeName(m proto.Message) string { return string(m.ProtoReflect().Descriptor().FullName()) }

// answerOf reads a reply that came from a node.
func answerOf(node string, r *clusterpb.Reply) (proto.Message, error) {
	if r.GetCode() != clusterpb.Code_CODE_OK {
		return nil, errorOf(node, r)
	}
	return decode(r.GetType(), r.GetMessage())
}

// replyOf says an answer. An answer that cannot be said is an error that can.
func replyOf(id uint64, m proto.Message, err error) *clusterpb.Reply {
	r := &clusterpb.Reply{Id: id, Code: clusterpb.Code_CODE_OK}
	if err == nil && m != nil {
		r.Type = typeName(m)
		r.Message, err = proto.Marshal(m)
	}
	if err != nil {
		r.Code, r.Text, r.Type, r.Message = codeOf(err), err.Error(), "", nil
	}
	return r
}
