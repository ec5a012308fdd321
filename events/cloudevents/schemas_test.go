package cloudevents

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"stampede/internal/eventschemas"
	"stampede/proto/gen/accountpb"
	"stampede/proto/gen/orderpb"
	"stampede/proto/gen/productpb"
	"stampede/proto/gen/salepb"
	"stampede/proto/gen/skupb"
)

// TestTypesAreWhatIsMapped: each journal event comes out on a topic that Types
// lists its type for, and every type that is listed comes out.
func TestTypesAreWhatIsMapped(t *testing.T) {
	mapper := NewMapper(JSON, "")
	var all []Message
	for kind, empty := range map[string]proto.Message{"order": &orderpb.Event{}, "sku": &skupb.Event{}, "product": &productpb.Event{}, "account": &accountpb.Event{}, "sale": &salepb.Event{}} {
		fields := empty.ProtoReflect().Descriptor().Oneofs().ByName("event").Fields()
		for i := range fields.Len() {
			e := empty.ProtoReflect().New()
			e.Set(fields.Get(i), e.NewField(fields.Get(i)))
			all = append(all, mapRecord(t, mapper, record(t, kind, "x", 1, e.Interface()))...)
		}
	}
	for _, r := range []*salepb.StockReported{{Changed: true, SaleSoldOut: true}, {Changed: true}} {
		all = append(all, mapRecord(t, mapper, record(t, "sale", "x", 1, &salepb.Event{Event: &salepb.Event_StockReported{StockReported: r}}))...)
	}
	mapped := map[string]bool{}
	for _, m := range all {
		typ := header(m, "ce_type")
		if !slices.Contains(Types(m.Topic), typ) {
			t.Errorf("%s is published on %s, and not listed for it", typ, m.Topic)
		}
		mapped[m.Topic+" "+typ] = true
	}
	listed := 0
	for _, topic := range Topics() {
		for _, typ := range Types(topic.Name) {
			listed++
			if !mapped[topic.Name+" "+typ] {
				t.Errorf("%s is listed for %s, and nothing is published so", typ, topic.Name)
			}
		}
	}
	if listed != len(mapped) {
		t.Errorf("%d types are listed, %d published: %v", listed, len(mapped), slices.Sorted(maps.Keys(mapped)))
	}
}

// TestSchemasAreStrict: what is not as it is published is found.
func TestSchemasAreStrict(t *testing.T) {
	schemas := eventschemas.Load(t, "../..")
	const id = "urn:stampede:events:v1:OrderReserved"
	const good = `{"orderId":"` + orderID + `","total":{"minorUnits":3980,"currency":"EUR"},"expiresAtMs":77,"lines":[{"sku":"A","name":"Mug","quantity":2,"unitPrice":{"minorUnits":1990,"currency":"EUR"},"skuVersion":41}]}`
	if err := schemas.Validate(id, []byte(good)); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string][2]string{
		"a field that is not there": {`"expiresAtMs":77,`, ``},
		"another field":             {`"expiresAtMs"`, `"more":1,"expiresAtMs"`},
		"a number as text":          {`77`, `"77"`},
		"a fraction":                {`77`, `7.7`},
		"another field of a line":   {`"sku":"A"`, `"sku":"A","secret":"x"`},
		"no SKU":                    {`"sku":"A"`, `"sku":"a b"`},
		"less than nothing":         {`3980`, `-1`},
		"no currency":               {`"EUR"},"expires`, `"euro"},"expires`},
		"no order":                  {orderID, "ord_1"},
		"more than is exact":        {`3980`, `9007199254740993`},
	} {
		bad := strings.Replace(good, change[0], change[1], 1)
		if bad == good || schemas.Validate(id, []byte(bad)) == nil {
			t.Errorf("%s: not found in %s", name, bad)
		}
	}
	if err := schemas.Validate("urn:stampede:events:v1:Nothing", []byte(good)); !errors.Is(err, eventschemas.ErrUnknown) {
		t.Error(err)
	}
}
