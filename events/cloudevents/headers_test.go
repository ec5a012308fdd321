package cloudevents

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/testing/protocmp"
	"pgregory.net/rapid"

	"stampede/actors/entity"
	"stampede/proto/gen/eventspb"
	"stampede/proto/gen/journalpb"
	"stampede/proto/gen/orderpb"
)

func TestHeaders(t *testing.T) {
	trace := append([]byte{0}, bytes.Repeat([]byte{0xab}, 16)...)
	trace = append(append(trace, bytes.Repeat([]byte{0xcd}, 8)...), 1)
	event := marshal(t, &orderpb.Event{AtMs: atMs, Event: &orderpb.Event_Expired{Expired: &orderpb.Expired{}}})
	rec := &entity.Record{
		Kind: "order", ID: orderID, Seq: 3, FirstVersion: 12, LastVersion: 12,
		Events: marshal(t, &journalpb.Batch{Entries: []*journalpb.Entry{{Event: event, TraceParent: trace}}}),
	}
	got := mapRecord(t, NewMapper(JSON, ""), rec)
	want := []Header{
		{"content-type", "application/json"},
		{"ce_specversion", "1.0"},
		{"ce_id", "order/" + orderID + "/12"},
		{"ce_source", "/stampede/orders"},
		{"ce_type", "OrderExpired"},
		{"ce_subject", orderID},
		{"ce_time", "2026-09-21T14:13:20.123Z"},
		{"ce_dataschema", "urn:stampede:events:v1:OrderExpired"},
		{"ce_sequence", "00000000000000000012"},
		{"ce_partitionkey", orderID},
		{"traceparent", "00-abababababababababababababababab-cdcdcdcdcdcdcdcd-01"},
	}
	if d := cmp.Diff(want, got[0].Headers); d != "" {
		t.Error(d)
	}

	proto := mapRecord(t, NewMapper(Protobuf, "urn:shop:eu"), rec)[0]
	if ct, src := header(proto, "content-type"), header(proto, "ce_source"); ct != "application/protobuf" || src != "urn:shop:eu/orders" {
		t.Errorf("%s %s", ct, src)
	}
	if s := header(proto, "ce_dataschema"); s != "urn:stampede:events:v1:protobuf:OrderExpired" {
		t.Error(s)
	}
}

func TestTraceparent(t *testing.T) {
	text := "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	for in, want := range map[string]string{
		"": "", text: text, "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01": "", "x": "", text + "-more": "",
	} {
		if got := string(appendTraceparent(nil, []byte(in))); got != want {
			t.Errorf("%q: %q", in, got)
		}
	}
}

func TestProtobufData(t *testing.T) {
	m := mapRecord(t, NewMapper(Protobuf, ""), record(t, "order", orderID, 1,
		&orderpb.Event{Event: &orderpb.Event_PaymentDeclined{PaymentDeclined: &orderpb.PaymentDeclined{Attempt: 2, Reason: "no"}}}))[0]
	var got eventspb.PaymentDeclined
	if err := proto.Unmarshal(m.Value, &got); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(&eventspb.PaymentDeclined{OrderId: orderID, Attempt: 2, Reason: "no"}, &got, protocmp.Transform()); d != "" {
		t.Error(d)
	}
}

func TestWithoutDataKeepsTheHeaders(t *testing.T) {
	m := mapRecord(t, NewMapper(JSON, ""), record(t, "order", orderID, 1, &orderpb.Event{Event: &orderpb.Event_Expired{}}))[0]
	bare := m.WithoutData()
	if bare.Value == nil || len(bare.Value) != 0 {
		t.Error("the value must be empty and not a tombstone")
	}
	if d := cmp.Diff(append(m.Headers[:len(m.Headers):len(m.Headers)], Header{"ce_dataomitted", "too-large"}), bare.Headers); d != "" {
		t.Error(d)
	}
}

// TestJSONIsReadBack: what is written is JSON that protojson reads as the same
// message, for any text and any number.
func TestJSONIsReadBack(t *testing.T) {
	encoder := newJSONEncoder()
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.String()
		in := &eventspb.OrderReserved{OrderId: text.Draw(t, "id"), ExpiresAtMs: rapid.Int64().Draw(t, "expires")}
		if rapid.Bool().Draw(t, "total") {
			in.Total = &eventspb.Money{MinorUnits: rapid.Int64().Draw(t, "minor"), Currency: text.Draw(t, "currency")}
		}
		for range rapid.IntRange(0, 3).Draw(t, "lines") {
			line := &eventspb.OrderLine{Sku: text.Draw(t, "sku"), Quantity: rapid.Int64().Draw(t, "quantity")}
			if rapid.Bool().Draw(t, "named") {
				line.Name = proto.String(text.Draw(t, "name"))
			}
			in.Lines = append(in.Lines, line)
		}
		b := encoder.append(nil, in)
		var out eventspb.OrderReserved
		if err := protojson.Unmarshal(b, &out); err != nil {
			t.Fatalf("%s: %v", b, err)
		}
		if d := cmp.Diff(in, &out, protocmp.Transform(), protocmp.IgnoreEmptyMessages()); d != "" {
			t.Fatalf("%s: %s", b, d)
		}
	})
}

// TestHotEventsAreWrittenAsAllOthers: whatever is in them, the events that are
// written by hand have the bytes that the general encoder gives.
func TestHotEventsAreWrittenAsAllOthers(t *testing.T) {
	encoder := newJSONEncoder()
	hot := 0
	messages := eventspb.File_stampede_events_v1_events_proto.Messages()
	for i := range messages.Len() {
		typ, err := protoregistry.GlobalTypes.FindMessageByName(messages.Get(i).FullName())
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := appendHot(nil, typ.New().Interface()); !ok {
			continue
		}
		hot++
		rapid.Check(t, func(t *rapid.T) {
			m := typ.New()
			fill(t, m)
			got, _ := appendHot(nil, m.Interface())
			if want := encoder.reflected(nil, m.Interface()); string(got) != string(want) {
				t.Fatalf("%s, want %s", got, want)
			}
		})
	}
	if hot < 9 {
		t.Errorf("%d hot types", hot)
	}
}

// fill sets fields of a message, each or none, to anything.
func fill(t *rapid.T, m protoreflect.Message) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		if rapid.IntRange(0, 3).Draw(t, string(fd.Name())) == 0 {
			continue
		}
		switch {
		case fd.IsList() && fd.Message() != nil:
			for range rapid.IntRange(0, 3).Draw(t, "elements") {
				fill(t, m.Mutable(fd).List().AppendMutable().Message())
			}
		case fd.Message() != nil:
			fill(t, m.Mutable(fd).Message())
		case fd.Kind() == protoreflect.StringKind:
			m.Set(fd, protoreflect.ValueOfString(rapid.String().Draw(t, "text")))
		case fd.Kind() == protoreflect.Int64Kind:
			m.Set(fd, protoreflect.ValueOfInt64(rapid.Int64().Draw(t, "number")))
		default:
			t.Fatalf("%s: a hot event with a field of this kind needs a case here", fd.FullName())
		}
	}
}

func TestJSONNeverHoldsInvalidUTF8(t *testing.T) {
	b := appendString(nil, "a\xffb\u2028\x00\x1f\t\r\"\\é")
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		t.Fatalf("%q: %v", b, err)
	}
	if want := "a\ufffdb\u2028\x00\x1f\t\r\"\\é"; s != want {
		t.Errorf("%q, want %q", s, want)
	}
}

func BenchmarkMapReserved(b *testing.B) {
	rec := record(b, "order", orderID, 1,
		&orderpb.Event{AtMs: atMs, Event: &orderpb.Event_Placed{Placed: &orderpb.Placed{CustomerId: accountID, Lines: []*orderpb.PlaceLine{{Sku: "MUG-BLUE", Quantity: 1}}}}},
		&orderpb.Event{AtMs: atMs, Event: &orderpb.Event_Reserved{Reserved: &orderpb.Reserved{Total: eur(1990), Lines: []*orderpb.LineHold{{Sku: "MUG-BLUE", Quantity: 1, Name: "Mug", UnitPrice: eur(1990)}}}}},
	)
	m := NewMapper(JSON, "")
	b.ReportAllocs()
	var dst []Message
	for b.Loop() {
		var err error
		if dst, err = m.Map(dst[:0], rec); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*2/b.Elapsed().Seconds(), "events/s")
}
