package inbound

import (
	"encoding/json"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/segmentio/kafka-go"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"stampede/proto/gen/commonpb"
	"stampede/proto/gen/skupb"
)

// message is a command as a warehouse sends it, with changes: an empty value
// takes a header away.
func message(kind, data string, changes ...string) *kafka.Message {
	h := map[string]string{
		"ce_specversion": "1.0", "ce_id": "wms-1", "ce_source": "/wms", "ce_type": kind, "content-type": "application/json; charset=utf-8",
	}
	for i := 0; i+1 < len(changes); i += 2 {
		h[changes[i]] = changes[i+1]
	}
	m := &kafka.Message{Value: []byte(data)}
	for k, v := range h {
		if v != "" {
			m.Headers = append(m.Headers, kafka.Header{Key: k, Value: []byte(v)})
		}
	}
	return m
}

func TestParse(t *testing.T) {
	// printf '/wms\0wms-1' | sha256sum
	const key = "ce-852bab3c4e27f817575a57217eacbdd14412ae8401cd98f6602d0de8cd7cf8a2"
	by := &commonpb.Actor{UserId: "kafka:/wms", Staff: true}
	for name, tc := range map[string]struct {
		m    *kafka.Message
		want proto.Message
	}{
		"adjust": {
			message(AdjustStock, `{"sku":"MUG-1","delta":-3,"reason":"broken"}`),
			&skupb.Adjust{IdempotencyKey: key, Delta: -3, Reason: "broken", Actor: by},
		},
		"adjust at a version": {
			message(AdjustStock, ` {"sku":"MUG-1","delta":3,"reason":"delivery","ifVersion":7} `),
			&skupb.Adjust{IdempotencyKey: key, Delta: 3, Reason: "delivery", Actor: by, IfVersion: 7},
		},
		"set":             {message(SetStock, `{"sku":"MUG-1","onHand":0,"reason":"count"}`), &skupb.SetOnHand{IdempotencyKey: key, Reason: "count", Actor: by}},
		"set, whatever":   {message(SetStock, `{"sku":"MUG-1","onHand":9,"reason":"count","ifVersion":1,"allowShortfall":true}`), &skupb.SetOnHand{IdempotencyKey: key, OnHand: 9, Reason: "count", Actor: by, IfVersion: 1, AllowShortfall: true}},
		"mark":            {message(MarkUnavailable, `{"sku":"MUG-1","quantity":2,"reason":"chipped"}`), &skupb.MarkUnavailable{IdempotencyKey: key, Quantity: 2, Reason: "chipped", Actor: by}},
		"no content type": {message(MarkUnavailable, `{"sku":"MUG-1","quantity":2,"reason":"r"}`, "content-type", ""), &skupb.MarkUnavailable{IdempotencyKey: key, Quantity: 2, Reason: "r", Actor: by}},
	} {
		t.Run(name, func(t *testing.T) {
			got, bad := parse(tc.m)
			if bad != nil || got.sku != "MUG-1" {
				t.Fatalf("%+v, %+v", got, bad)
			}
			if diff := cmp.Diff(tc.want, got.cmd, protocmp.Transform()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	const good = `{"sku":"A","delta":1,"reason":"r"}`
	for name, tc := range map[string]struct {
		m     *kafka.Message
		field string
	}{
		"no id":           {message(AdjustStock, good, "ce_id", ""), "ce_id"},
		"no source":       {message(AdjustStock, good, "ce_source", ""), "ce_source"},
		"no type":         {message("", good), "ce_type"},
		"long id":         {message(AdjustStock, good, "ce_id", strings.Repeat("a", 256)), "ce_id"},
		"control in id":   {message(AdjustStock, good, "ce_id", "a\x00b"), "ce_id"},
		"no text":         {message(AdjustStock, good, "ce_source", "\xff"), "ce_source"},
		"unknown type":    {message("stampede.SellStock", good), "ce_type"},
		"another version": {message(AdjustStock, good, "ce_specversion", "0.3"), "ce_specversion"},
		"structured mode": {&kafka.Message{Value: []byte(`{"specversion":"1.0"}`)}, "ce_id"},
		"not JSON":        {message(AdjustStock, good, "content-type", "application/protobuf"), "content-type"},
		"no data":         {message(AdjustStock, ""), ""},
		"null":            {message(AdjustStock, "null"), "sku"},
		"a list":          {message(AdjustStock, "["+good+"]"), ""},
		"cut":             {message(AdjustStock, good[:10]), ""},
		"two":             {message(AdjustStock, good+good), ""},
		"unknown field":   {message(AdjustStock, `{"sku":"A","delta":1,"reason":"r","warehouse":"B"}`), ""},
		"text for number": {message(AdjustStock, `{"sku":"A","delta":"1","reason":"r"}`), "delta"},
		"fraction":        {message(AdjustStock, `{"sku":"A","delta":1.5,"reason":"r"}`), "delta"},
		"huge":            {message(AdjustStock, `{"sku":"A","delta":99999999999999999999,"reason":"r"}`), "delta"},
		"no UTF-8":        {message(AdjustStock, "{\"sku\":\"A\",\"delta\":1,\"reason\":\"\xff\"}"), ""},
		"no SKU":          {message(AdjustStock, `{"delta":1,"reason":"r"}`), "sku"},
		"no reason":       {message(AdjustStock, `{"sku":"A","delta":1}`), "reason"},
		"a blank reason":  {message(SetStock, `{"sku":"A","onHand":1,"reason":" "}`), "reason"},
		"a path for SKU":  {message(AdjustStock, `{"sku":"../x","delta":1,"reason":"r"}`), "sku"},
		"no count":        {message(SetStock, `{"sku":"A","reason":"r"}`), "onHand"},
		"too large":       {message(AdjustStock, `{"sku":"A","delta":1,"reason":"`+strings.Repeat("r", MaxValueBytes)+`"}`), ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, bad := parse(tc.m)
			if bad == nil || bad.reason != reasonMalformed || bad.message == "" || strings.Join(bad.field, ".") != tc.field {
				t.Fatalf("%+v, want one at %q", bad, tc.field)
			}
		})
	}
}

// The schema that is published has the types and the fields that are taken.
func TestSchemaSaysWhatIsTaken(t *testing.T) {
	text, err := os.ReadFile("../../docs/events/commands.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var schema struct {
		Defs map[string]struct {
			Properties map[string]any
			Required   []string
		} `json:"$defs"`
	}
	if err := json.Unmarshal(text, &schema); err != nil {
		t.Fatal(err)
	}
	for kind, data := range map[string]reflect.Type{AdjustStock: reflect.TypeFor[adjustData](), SetStock: reflect.TypeFor[setData](), MarkUnavailable: reflect.TypeFor[markData]()} {
		var taken []string
		for i := range data.NumField() {
			taken = append(taken, data.Field(i).Tag.Get("json"))
		}
		slices.Sort(taken)
		said := slices.Sorted(maps.Keys(schema.Defs[kind].Properties))
		if !slices.Equal(taken, said) || !slices.Contains(schema.Defs[kind].Required, "reason") {
			t.Errorf("%s: the schema has %v, taken are %v", kind, said, taken)
		}
		delete(schema.Defs, kind)
	}
	for name := range schema.Defs {
		if strings.HasPrefix(name, "stampede.") {
			t.Errorf("the schema has %s, which is not taken", name)
		}
	}
}

func TestSourceAndIDMakeTheKey(t *testing.T) {
	key := func(source, id string) string {
		c, bad := parse(message(AdjustStock, `{"sku":"A","delta":1,"reason":"r"}`, "ce_source", source, "ce_id", id))
		if bad != nil {
			t.Fatal(bad)
		}
		return c.cmd.(*skupb.Adjust).IdempotencyKey
	}
	first := key("/a", "1")
	if again := key("/a", "1"); again != first || first == key("/a", "2") || first == key("/b", "1") || key("/a", "b1") == key("/ab", "1") {
		t.Error("not one key for each source and id")
	}
}

func TestDeadLetters(t *testing.T) {
	m := message(AdjustStock, "x", HeaderReason, "OLD")
	m.Key, m.Partition, m.Offset = []byte("A"), 3, 99
	l := letterOf(m, &rejection{reason: "INSUFFICIENT_STOCK", message: "there are 2", field: []string{"delta"}})
	got := map[string]string{}
	for _, h := range l.Headers {
		if got[h.Key] != "" {
			t.Errorf("%s twice", h.Key)
		}
		got[h.Key] = string(h.Value)
	}
	want := map[string]string{
		"ce_specversion": "1.0", "ce_id": "wms-1", "ce_source": "/wms", "ce_type": AdjustStock, "content-type": "application/json; charset=utf-8",
		HeaderReason: "INSUFFICIENT_STOCK", HeaderMessage: "there are 2", HeaderField: "delta", HeaderPartition: "3", HeaderOffset: "99",
	}
	if diff := cmp.Diff(want, got); diff != "" || string(l.Key) != "A" || string(l.Value) != "x" {
		t.Errorf("key %q, value %q, headers (-want +got):\n%s", l.Key, l.Value, diff)
	}
}
