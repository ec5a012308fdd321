package cloudevents

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"stampede/actors/entity"
	"stampede/internal/eventschemas"
	"stampede/proto/gen/accountpb"
	"stampede/proto/gen/apikeypb"
	"stampede/proto/gen/commonpb"
	"stampede/proto/gen/eventspb"
	"stampede/proto/gen/journalpb"
	"stampede/proto/gen/orderpb"
	"stampede/proto/gen/productpb"
	"stampede/proto/gen/rosterpb"
	"stampede/proto/gen/salepb"
	"stampede/proto/gen/skupb"
)

const (
	orderID   = "ord_abcdefghijklmnopqrstuvwx23"
	productID = "prd_abcdefghijklmnopqrstuvwx23"
	accountID = "usr_abcdefghijklmnopqrstuvwx23"
	atMs      = 1_790_000_000_123
)

func record(t testing.TB, kind, id string, first uint64, events ...proto.Message) *entity.Record {
	t.Helper()
	batch := &journalpb.Batch{}
	for _, e := range events {
		batch.Entries = append(batch.Entries, &journalpb.Entry{Event: marshal(t, e)})
	}
	return &entity.Record{
		Kind: kind, ID: id, Seq: 1, FirstVersion: first, LastVersion: first + uint64(len(events)) - 1, Events: marshal(t, batch),
	}
}

func marshal(t testing.TB, m proto.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func mapRecord(t testing.TB, m *Mapper, rec *entity.Record) []Message {
	t.Helper()
	out, err := m.Map(nil, rec)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func eur(units int64) *commonpb.Money { return &commonpb.Money{MinorUnits: units, Currency: "EUR"} }

func TestOrderEvents(t *testing.T) {
	cases := []struct {
		event *orderpb.Event
		typ   string
		data  string
	}{
		{
			&orderpb.Event{Event: &orderpb.Event_Placed{Placed: &orderpb.Placed{
				CustomerId: "usr_abcdefghijklmnopqrstuvwx23", IdempotencyKey: "secret-key", InputHash: []byte{1}, HoldMs: 5,
				Lines: []*orderpb.PlaceLine{{Sku: "A", Quantity: 2, ExpectedPrice: eur(9)}},
			}}}, "OrderPlaced",
			`{"orderId":"` + orderID + `","number":"S-ABCD-EFGH","customerId":"usr_abcdefghijklmnopqrstuvwx23","lines":[{"sku":"A","quantity":2}]}`,
		},
		{
			&orderpb.Event{Event: &orderpb.Event_Reserved{Reserved: &orderpb.Reserved{
				Total: eur(3980), ExpiresAtMs: 77,
				Lines: []*orderpb.LineHold{{Sku: "A", Quantity: 2, SkuVersion: 41, UnitPrice: eur(1990), Name: "Mug"}},
			}}}, "OrderReserved",
			`{"orderId":"` + orderID + `","total":{"minorUnits":3980,"currency":"EUR"},"expiresAtMs":77,"lines":[{"sku":"A","name":"Mug","quantity":2,"unitPrice":{"minorUnits":1990,"currency":"EUR"},"skuVersion":41}]}`,
		},
		{
			&orderpb.Event{Event: &orderpb.Event_Rejected{Rejected: &orderpb.Rejected{
				Refusal: &commonpb.Refusal{Reason: commonpb.Reason_REASON_INSUFFICIENT_STOCK, Message: "3 left", Sku: "A"}, HeldLines: []int32{1},
			}}}, "OrderRejected",
			`{"orderId":"` + orderID + `","code":"INSUFFICIENT_STOCK","message":"3 left","sku":"A"}`,
		},
		{
			&orderpb.Event{Event: &orderpb.Event_Rejected{Rejected: &orderpb.Rejected{Refusal: &commonpb.Refusal{Reason: commonpb.Reason_REASON_INVALID}}}},
			"OrderRejected", `{"orderId":"` + orderID + `","code":"INVALID","message":""}`,
		},
		{
			&orderpb.Event{Event: &orderpb.Event_PaymentRequested{PaymentRequested: &orderpb.PaymentRequested{Attempt: 1, Token: "tok_secret", Amount: eur(5)}}},
			"PaymentRequested", `{"orderId":"` + orderID + `","attempt":1,"amount":{"minorUnits":5,"currency":"EUR"}}`,
		},
		{
			&orderpb.Event{Event: &orderpb.Event_PaymentActionRequired{PaymentActionRequired: &orderpb.PaymentActionRequired{Attempt: 2, Provider: "stripe", NextActionUrl: "https://secret"}}},
			"PaymentActionRequired", `{"orderId":"` + orderID + `","attempt":2,"provider":"stripe"}`,
		},
		{
			&orderpb.Event{Event: &orderpb.Event_PaymentAuthorized{PaymentAuthorized: &orderpb.PaymentAuthorized{Attempt: 1, Provider: "simulator", Reference: "ref", Amount: eur(5)}}},
			"PaymentAuthorized", `{"orderId":"` + orderID + `","attempt":1,"amount":{"minorUnits":5,"currency":"EUR"},"provider":"simulator"}`,
		},
		{
			&orderpb.Event{Event: &orderpb.Event_PaymentDeclined{PaymentDeclined: &orderpb.PaymentDeclined{Attempt: 1, Reason: "no funds"}}},
			"PaymentDeclined", `{"orderId":"` + orderID + `","attempt":1,"reason":"no funds"}`,
		},
		{&orderpb.Event{Event: &orderpb.Event_Confirmed{Confirmed: &orderpb.Confirmed{SkuVersions: []int64{3}}}}, "OrderConfirmed", `{"orderId":"` + orderID + `"}`},
		{
			&orderpb.Event{Event: &orderpb.Event_PaymentCaptured{PaymentCaptured: &orderpb.PaymentCaptured{Amount: eur(5)}}},
			"PaymentCaptured", `{"orderId":"` + orderID + `","amount":{"minorUnits":5,"currency":"EUR"}}`,
		},
		{&orderpb.Event{Event: &orderpb.Event_PaymentVoided{PaymentVoided: &orderpb.PaymentVoided{}}}, "PaymentVoided", `{"orderId":"` + orderID + `"}`},
		{&orderpb.Event{Event: &orderpb.Event_Cancelled{Cancelled: &orderpb.Cancelled{Reason: "changed \"mind\"\n", ActorId: "usr_2"}}}, "OrderCancelled", `{"orderId":"` + orderID + `","reason":"changed \"mind\"\n"}`},
		{&orderpb.Event{Event: &orderpb.Event_Expired{Expired: &orderpb.Expired{}}}, "OrderExpired", `{"orderId":"` + orderID + `"}`},
		{
			&orderpb.Event{Event: &orderpb.Event_Fulfilled{Fulfilled: &orderpb.Fulfilled{
				Number: 1, IdempotencyKey: "secret-key", Tracking: "T-1", ActorId: "usr_s", Lines: []*orderpb.MovedLine{{Sku: "A", Quantity: 2}}, Complete: true,
			}}}, "OrderFulfilled", `{"orderId":"` + orderID + `","lines":[{"sku":"A","quantity":2}],"tracking":"T-1","complete":true}`,
		},
		{
			&orderpb.Event{Event: &orderpb.Event_RefundRequested{RefundRequested: &orderpb.RefundRequested{
				Number: 2, IdempotencyKey: "secret-key", Amount: eur(500), Lines: []*orderpb.MovedLine{{Line: 1, Sku: "A", Quantity: 2, Unfulfilled: 1}}, ActorId: "usr_s",
			}}}, "RefundRequested", `{"orderId":"` + orderID + `","amount":{"minorUnits":500,"currency":"EUR"},"lines":[{"sku":"A","quantity":2}]}`,
		},
		{
			&orderpb.Event{Event: &orderpb.Event_Refunded{Refunded: &orderpb.Refunded{
				Number: 2, Amount: eur(500), Total: eur(700), Lines: []*orderpb.MovedLine{{Line: 1, Sku: "A", Quantity: 2}}, Restock: true, Reason: "broken", Reference: "re_1",
			}}}, "OrderRefunded", `{"orderId":"` + orderID + `","amount":{"minorUnits":500,"currency":"EUR"},"lines":[{"sku":"A","quantity":2}],"total":{"minorUnits":700,"currency":"EUR"},"restock":true,"reason":"broken"}`,
		},
		{&orderpb.Event{Event: &orderpb.Event_RefundRefused{RefundRefused: &orderpb.RefundRefused{Number: 2, Reason: "no"}}}, "RefundRefused", `{"orderId":"` + orderID + `","reason":"no"}`},
		{&orderpb.Event{Event: &orderpb.Event_UnitsMoved{UnitsMoved: &orderpb.UnitsMoved{Number: 2}}}, "OrderUnitsMoved", `{"orderId":"` + orderID + `"}`},
		{&orderpb.Event{Event: &orderpb.Event_PaymentUnanswered{PaymentUnanswered: &orderpb.PaymentUnanswered{Attempt: 2}}}, "PaymentUnanswered", `{"orderId":"` + orderID + `","attempt":2}`},
		{&orderpb.Event{Event: &orderpb.Event_ReturnSettled{ReturnSettled: &orderpb.ReturnSettled{Number: 2}}}, "OrderReturnSettled", `{"orderId":"` + orderID + `"}`},
		{&orderpb.Event{Event: &orderpb.Event_HoldsReleased{HoldsReleased: &orderpb.HoldsReleased{}}}, "OrderHoldsReleased", `{"orderId":"` + orderID + `"}`},
	}
	schemas := eventschemas.Load(t, "../..")
	for _, c := range cases {
		t.Run(c.typ, func(t *testing.T) {
			c.event.AtMs = atMs
			got := mapRecord(t, NewMapper(JSON, ""), record(t, "order", orderID, 7, c.event))
			checkOne(t, schemas, got, TopicOrders, orderID, c.typ, c.data)
		})
	}
}

func TestStockEvents(t *testing.T) {
	const level = `"level":{"sku":"A","onHand":10,"available":4,"held":3,"committed":2,"unavailable":1,"version":7,"asOfMs":1790000000123}`
	cases := []struct {
		name  string
		event *skupb.Event
		typ   string
		data  string
	}{
		{
			"configured", &skupb.Event{Event: &skupb.Event_Configured{Configured: &skupb.Configured{ProductId: "prd_abcdefghijklmnopqrstuvwx23", Name: "Mug", Price: eur(1990), Active: true}}},
			"SkuConfigured", `{"sku":"A","productId":"prd_abcdefghijklmnopqrstuvwx23","name":"Mug","price":{"minorUnits":1990,"currency":"EUR"},"active":true,` + level + `}`,
		},
		{"unconfigured", &skupb.Event{Event: &skupb.Event_Unconfigured{Unconfigured: &skupb.Unconfigured{ProductId: "prd_abcdefghijklmnopqrstuvwx23"}}}, "SkuConfigured", `{"sku":"A","productId":"prd_abcdefghijklmnopqrstuvwx23","active":false,` + level + `}`},
		{"adjusted", &skupb.Event{Event: &skupb.Event_Adjusted{Adjusted: &skupb.Adjusted{Delta: -3, Reason: "count", IdempotencyKey: "k"}}}, "StockAdjusted", `{"sku":"A","delta":-3,"reason":"count",` + level + `}`},
		{"marked unavailable", &skupb.Event{Event: &skupb.Event_MarkedUnavailable{MarkedUnavailable: &skupb.MarkedUnavailable{Quantity: 1, Reason: "broken"}}}, "StockAdjusted", `{"sku":"A","delta":0,"reason":"broken",` + level + `}`},
		{
			"reserved", &skupb.Event{Event: &skupb.Event_Reserved{Reserved: &skupb.Reserved{OrderId: "ord_abcdefghijklmnopqrstuvwx23", CustomerId: "usr_abcdefghijklmnopqrstuvwx23", Quantity: 2, ExpiresAtMs: 9, UnitPrice: eur(1990)}}},
			"StockReserved", `{"sku":"A","orderId":"ord_abcdefghijklmnopqrstuvwx23","quantity":2,"expiresAtMs":9,"unitPrice":{"minorUnits":1990,"currency":"EUR"},` + level + `}`,
		},
		{"released", &skupb.Event{Event: &skupb.Event_Released{Released: &skupb.Released{OrderId: "ord_abcdefghijklmnopqrstuvwx23", Quantity: 2}}}, "ReservationReleased", `{"sku":"A","orderId":"ord_abcdefghijklmnopqrstuvwx23","quantity":2,` + level + `,"committed":false}`},
		{"release of committed units", &skupb.Event{Event: &skupb.Event_Released{Released: &skupb.Released{OrderId: "ord_abcdefghijklmnopqrstuvwx23", Quantity: 2, Committed: true}}}, "ReservationReleased", `{"sku":"A","orderId":"ord_abcdefghijklmnopqrstuvwx23","quantity":2,` + level + `,"committed":true}`},
		{"release remembered", &skupb.Event{Event: &skupb.Event_ReleaseRemembered{ReleaseRemembered: &skupb.ReleaseRemembered{OrderId: "ord_abcdefghijklmnopqrstuvwx23"}}}, "ReservationReleased", `{"sku":"A","orderId":"ord_abcdefghijklmnopqrstuvwx23","quantity":0,` + level + `,"committed":false}`},
		{"expired", &skupb.Event{Event: &skupb.Event_Expired{Expired: &skupb.Expired{OrderId: "ord_abcdefghijklmnopqrstuvwx23", Quantity: 2}}}, "ReservationExpired", `{"sku":"A","orderId":"ord_abcdefghijklmnopqrstuvwx23","quantity":2,` + level + `}`},
		{"confirmed", &skupb.Event{Event: &skupb.Event_Confirmed{Confirmed: &skupb.Confirmed{OrderId: "ord_abcdefghijklmnopqrstuvwx23", Quantity: 2, Reacquired: 1}}}, "ReservationConfirmed", `{"sku":"A","orderId":"ord_abcdefghijklmnopqrstuvwx23","quantity":2,"reacquired":1,` + level + `}`},
		{"fulfilled", &skupb.Event{Event: &skupb.Event_Fulfilled{Fulfilled: &skupb.Fulfilled{OrderId: "ord_abcdefghijklmnopqrstuvwx23", CustomerId: "usr_abcdefghijklmnopqrstuvwx23", Move: 1, Quantity: 2}}}, "ReservationFulfilled", `{"sku":"A","orderId":"ord_abcdefghijklmnopqrstuvwx23","quantity":2,` + level + `}`},
		{"returned", &skupb.Event{Event: &skupb.Event_Returned{Returned: &skupb.Returned{OrderId: "ord_abcdefghijklmnopqrstuvwx23", CustomerId: "usr_abcdefghijklmnopqrstuvwx23", Move: 2, Committed: 1, Fulfilled: 2, Restocked: true}}}, "ReservationReturned", `{"sku":"A","orderId":"ord_abcdefghijklmnopqrstuvwx23","committed":1,"fulfilled":2,"restocked":true,` + level + `}`},
		{"return settled", &skupb.Event{Event: &skupb.Event_ReturnSettled{ReturnSettled: &skupb.ReturnSettled{OrderId: "ord_abcdefghijklmnopqrstuvwx23", Move: 2}}}, "ReservationReturnSettled", `{"sku":"A","orderId":"ord_abcdefghijklmnopqrstuvwx23",` + level + `}`},
		{"shortfall", &skupb.Event{Event: &skupb.Event_Shortfall{Shortfall: &skupb.Shortfall{Missing: 4, Reason: "count"}}}, "StockShortfall", `{"sku":"A","missing":4,` + level + `,"reason":"count"}`},
		{"depleted", &skupb.Event{Event: &skupb.Event_Depleted{Depleted: &skupb.Depleted{}}}, "StockDepleted", `{"sku":"A",` + level + `}`},
		{"replenished", &skupb.Event{Event: &skupb.Event_Replenished{Replenished: &skupb.Replenished{}}}, "StockReplenished", `{"sku":"A",` + level + `}`},
	}
	schemas := eventschemas.Load(t, "../..")
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			c.event.AtMs = atMs
			c.event.After = &skupb.Stock{Available: 4, Held: 3, Committed: 2, Unavailable: 1}
			got := mapRecord(t, NewMapper(JSON, ""), record(t, "sku", "A", 7, c.event))
			if len(got) != 2 {
				t.Fatalf("%d messages, want the event and the level", len(got))
			}
			checkOne(t, schemas, got[:1], TopicStock, "A", c.typ, c.data)
			if err := schemas.Validate(header(got[1], "ce_dataschema"), got[1].Value); got[1].Value != nil && err != nil {
				t.Error(err)
			}
		})
	}
}

func TestProductEvents(t *testing.T) {
	variants := []*productpb.Variant{{Sku: "A", Name: "Blue", Price: eur(1990), InitialStock: 5}}
	const v = `"variants":[{"sku":"A","name":"Blue","price":{"minorUnits":1990,"currency":"EUR"}}]`
	cases := []struct {
		event *productpb.Event
		typ   string
		data  string
	}{
		{
			&productpb.Event{Event: &productpb.Event_Created{Created: &productpb.Created{Product: &productpb.Product{Slug: "mug", Name: "Mug", Published: true, Variants: variants}}}},
			"ProductCreated", `{"productId":"` + productID + `","slug":"mug","name":"Mug","published":true,` + v + `}`,
		},
		{
			&productpb.Event{Event: &productpb.Event_Updated{Updated: &productpb.Updated{Slug: "mug", Name: "Cup", Variants: variants}}},
			"ProductUpdated", `{"productId":"` + productID + `","slug":"mug","name":"Cup","published":false,` + v + `}`,
		},
		{
			&productpb.Event{Event: &productpb.Event_SkusConfigured{SkusConfigured: &productpb.SkusConfigured{ProductVersion: 3}}},
			"ProductSkusConfigured", `{"productId":"` + productID + `","productVersion":3}`,
		},
	}
	schemas := eventschemas.Load(t, "../..")
	for _, c := range cases {
		t.Run(c.typ, func(t *testing.T) {
			c.event.AtMs = atMs
			checkOne(t, schemas, mapRecord(t, NewMapper(JSON, ""), record(t, "product", productID, 7, c.event)), TopicProducts, productID, c.typ, c.data)
		})
	}
}

func TestAccountEventsKeepPrivateThingsInside(t *testing.T) {
	got := mapRecord(t, NewMapper(JSON, ""), record(t, "account", accountID, 1,
		&accountpb.Event{AtMs: 1, Event: &accountpb.Event_Registered{Registered: &accountpb.Registered{
			Email: "ada@example.org", Name: "Ada", PasswordHash: "$argon2id$", Roles: []accountpb.Role{accountpb.Role_ROLE_CUSTOMER},
		}}},
		&accountpb.Event{AtMs: 2, Event: &accountpb.Event_SessionStarted{SessionStarted: &accountpb.SessionStarted{}}},
		&accountpb.Event{AtMs: 3, Event: &accountpb.Event_PasswordChanged{PasswordChanged: &accountpb.PasswordChanged{PasswordHash: "$argon2id$"}}},
		&accountpb.Event{AtMs: 4, Event: &accountpb.Event_ProfileUpdated{ProfileUpdated: &accountpb.ProfileUpdated{Name: "Ada L."}}},
		&accountpb.Event{AtMs: 5, Event: &accountpb.Event_RolesChanged{RolesChanged: &accountpb.RolesChanged{Roles: []accountpb.Role{accountpb.Role_ROLE_STAFF, accountpb.Role_ROLE_OPERATOR}}}},
	))
	want := []string{
		`account/` + accountID + `/1 {"userId":"` + accountID + `","roles":["CUSTOMER"]}`,
		`account/` + accountID + `/4 {"userId":"` + accountID + `"}`,
		`account/` + accountID + `/5 {"userId":"` + accountID + `","roles":["STAFF","OPERATOR"]}`,
	}
	schemas := eventschemas.Load(t, "../..")
	var lines []string
	for _, m := range got {
		lines = append(lines, header(m, "ce_id")+" "+string(m.Value))
		if err := schemas.Validate(header(m, "ce_dataschema"), m.Value); err != nil {
			t.Error(err)
		}
	}
	if d := cmp.Diff(want, lines); d != "" {
		t.Error(d)
	}
}

func checkOne(t *testing.T, schemas eventschemas.Schemas, got []Message, topic, key, typ, data string) {
	t.Helper()
	if len(got) != 1 {
		t.Fatalf("%d messages, want 1", len(got))
	}
	m := got[0]
	if m.Topic != topic || m.Key != key || m.Version != 7 || m.AtMs != atMs {
		t.Errorf("topic %s, key %s, version %d, at %d", m.Topic, m.Key, m.Version, m.AtMs)
	}
	if h := header(m, "ce_type"); h != typ {
		t.Errorf("ce_type is %s, want %s", h, typ)
	}
	if d := cmp.Diff(data, string(m.Value)); d != "" {
		t.Error(d)
	}
	if err := schemas.Validate(header(m, "ce_dataschema"), m.Value); err != nil {
		t.Error(err)
	}
}

func header(m Message, key string) string {
	for _, h := range m.Headers {
		if h.Key == key {
			return h.Value
		}
	}
	return ""
}

// TestEveryJournalEventIsPublished fails when a kind gets an event that the
// mapping does not know: a consumer would see a gap in ce_sequence.
func TestEveryJournalEventIsPublished(t *testing.T) {
	private := map[protoreflect.Name]bool{
		"session_started": true, "session_rotated": true, "session_ended": true, "family_revoked": true, "log_in_failed": true, "password_changed": true, "operator_counted": true,
	}
	kinds := []struct {
		kind, id string
		empty    func() proto.Message
	}{
		{"order", orderID, func() proto.Message { return &orderpb.Event{} }},
		{"sku", "A", func() proto.Message { return &skupb.Event{} }},
		{"product", productID, func() proto.Message { return &productpb.Event{} }},
		{"account", accountID, func() proto.Message { return &accountpb.Event{} }},
		{"roster", "operators", func() proto.Message { return &rosterpb.Event{} }},
		{"apikey", "key_abcdefghijklmnopqrstuvwx23", func() proto.Message { return &apikeypb.Event{} }},
	}
	for _, format := range []Format{JSON, Protobuf} {
		mapper := NewMapper(format, "")
		for _, k := range kinds {
			fields := k.empty().ProtoReflect().Descriptor().Oneofs().ByName("event").Fields()
			for i := range fields.Len() {
				fd := fields.Get(i)
				e := k.empty()
				e.ProtoReflect().Set(fd, e.ProtoReflect().NewField(fd))
				got, err := mapper.Map(nil, record(t, k.kind, k.id, 1, e))
				if err != nil {
					t.Errorf("%s %s: %v", k.kind, fd.Name(), err)
					continue
				}
				if hidden := k.kind == "apikey" || k.kind == "roster" || k.kind == "account" && private[fd.Name()]; hidden != (len(got) == 0) {
					t.Errorf("%s %s: %d messages, private %t", k.kind, fd.Name(), len(got), hidden)
				}
			}
		}
	}
}

// TestEveryPublishedTypeIsUsed: a message in events.proto that nothing maps to
// would be a promise that nobody keeps.
func TestEveryPublishedTypeIsUsed(t *testing.T) {
	parts := map[string]bool{"Money": true, "OrderLine": true, "StockLevel": true, "ProductVariant": true, "SaleItem": true}
	used := map[string]bool{}
	mapper := NewMapper(JSON, "")
	for kind, empty := range map[string]proto.Message{"order": &orderpb.Event{}, "sku": &skupb.Event{}, "product": &productpb.Event{}, "account": &accountpb.Event{}, "sale": &salepb.Event{}} {
		fields := empty.ProtoReflect().Descriptor().Oneofs().ByName("event").Fields()
		for i := range fields.Len() {
			e := empty.ProtoReflect().New()
			e.Set(fields.Get(i), e.NewField(fields.Get(i)))
			for _, m := range mapRecord(t, mapper, record(t, kind, "x", 1, e.Interface())) {
				used[header(m, "ce_type")] = true
			}
		}
	}
	for _, r := range []*salepb.StockReported{{Changed: true, SaleSoldOut: true}, {Changed: true}} {
		for _, m := range mapRecord(t, mapper, record(t, "sale", "x", 1, &salepb.Event{Event: &salepb.Event_StockReported{StockReported: r}})) {
			used[header(m, "ce_type")] = true
		}
	}
	messages := eventspb.File_stampede_events_v1_events_proto.Messages()
	for i := range messages.Len() {
		name := string(messages.Get(i).Name())
		if !parts[name] && !used[name] {
			t.Errorf("nothing is published as %s", name)
		}
	}
}

func TestAnUnknownEventIsRefused(t *testing.T) {
	mapper := NewMapper(JSON, "")
	for kind, e := range map[string]proto.Message{"order": &orderpb.Event{}, "sku": &skupb.Event{}, "product": &productpb.Event{}, "account": &accountpb.Event{}, "sale": &salepb.Event{}, "unheard-of": &orderpb.Event{}} {
		before := []Message{{Key: "kept"}}
		got, err := mapper.Map(before, record(t, kind, "x", 1, e))
		if !errors.Is(err, ErrUnmapped) || len(got) != 1 {
			t.Errorf("%s: %v, %d messages", kind, err, len(got))
		}
	}
}

func TestACorruptRecordIsRefused(t *testing.T) {
	good := record(t, "order", orderID, 1, &orderpb.Event{Event: &orderpb.Event_Expired{}})
	cases := map[string]func(r *entity.Record){
		"not a batch":     func(r *entity.Record) { r.Events = []byte("\xff\xff") },
		"empty":           func(r *entity.Record) { r.Events = nil },
		"missing version": func(r *entity.Record) { r.LastVersion++ },
		"not an event": func(r *entity.Record) {
			r.Events = marshal(t, &journalpb.Batch{Entries: []*journalpb.Entry{{Event: []byte("\xff")}}})
		},
	}
	for name, damage := range cases {
		for _, kind := range []string{"order", "sku", "product", "account"} {
			r := *good
			r.Kind = kind
			damage(&r)
			if _, err := NewMapper(JSON, "").Map(nil, &r); !errors.Is(err, entity.ErrCorrupt) {
				t.Errorf("%s, %s: %v", name, kind, err)
			}
		}
	}
}

func TestLevelsAreTheNewestOfTheRecord(t *testing.T) {
	reserve := func(held int64) *skupb.Event {
		return &skupb.Event{AtMs: held, After: &skupb.Stock{Available: 10 - held, Held: held}, Event: &skupb.Event_Reserved{Reserved: &skupb.Reserved{}}}
	}
	got := mapRecord(t, NewMapper(JSON, ""), record(t, "sku", "A", 5, reserve(1), reserve(2), reserve(3)))
	if len(got) != 4 {
		t.Fatalf("%d messages", len(got))
	}
	level := got[3]
	if level.Topic != TopicStockLevels || level.Version != 7 || header(level, "ce_type") != "StockLevel" || header(level, "ce_source") != "/stampede/stock-levels" {
		t.Errorf("%+v", level)
	}
	if want := `{"sku":"A","onHand":10,"available":7,"held":3,"committed":0,"unavailable":0,"version":7,"asOfMs":3}`; string(level.Value) != want {
		t.Errorf("%s", level.Value)
	}
	configured := &skupb.Event{Event: &skupb.Event_Configured{Configured: &skupb.Configured{}}}
	gone := &skupb.Event{Event: &skupb.Event_Unconfigured{Unconfigured: &skupb.Unconfigured{}}}
	remembered := func(unclaimed bool) *skupb.Event {
		return &skupb.Event{Event: &skupb.Event_ReleaseRemembered{ReleaseRemembered: &skupb.ReleaseRemembered{OrderId: orderID, Unclaimed: unclaimed}}}
	}
	for _, c := range []struct {
		events    []proto.Message
		tombstone bool
	}{
		{[]proto.Message{configured}, false},
		{[]proto.Message{configured, gone}, true},
		{[]proto.Message{gone, configured}, false},
		{[]proto.Message{gone, reserve(1)}, true},
		{[]proto.Message{remembered(false)}, false},
		{[]proto.Message{remembered(true)}, true},
		{[]proto.Message{gone, remembered(true)}, true},
	} {
		out := mapRecord(t, NewMapper(JSON, ""), record(t, "sku", "A", 1, c.events...))
		if last := out[len(out)-1]; (last.Value == nil) != c.tombstone || last.Topic != TopicStockLevels {
			t.Errorf("%v: tombstone %t", c.events, last.Value == nil)
		}
	}
}

// TestLargestEvents: the largest order and product that the shop accepts stay
// under MaxDataBytes, if need be without names.
func TestLargestEvents(t *testing.T) {
	name := strings.Repeat("𓃰", 200)
	short := strings.Repeat("n", 60)
	sku := strings.Repeat("S", 64)
	for _, format := range []Format{JSON, Protobuf} {
		for _, c := range []struct {
			name string
			kept bool
		}{{name, false}, {short, true}} {
			order := &orderpb.Reserved{Total: eur(1 << 50)}
			for range 100 {
				order.Lines = append(order.Lines, &orderpb.LineHold{Sku: sku, Quantity: 10_000, SkuVersion: 1 << 40, UnitPrice: eur(1 << 40), Name: c.name})
			}
			m := mapRecord(t, NewMapper(format, ""), record(t, "order", orderID, 1, &orderpb.Event{AtMs: atMs, Event: &orderpb.Event_Reserved{Reserved: order}}))[0]
			if len(m.Value) > MaxDataBytes || strings.Contains(string(m.Value), c.name) != c.kept {
				t.Errorf("order: %d bytes, names kept %t", len(m.Value), strings.Contains(string(m.Value), c.name))
			}
			product := &productpb.Product{Slug: strings.Repeat("s", 100), Name: name}
			for range 50 {
				product.Variants = append(product.Variants, &productpb.Variant{Sku: sku, Name: strings.Repeat("\x01", 200), Price: eur(1 << 40)})
			}
			m = mapRecord(t, NewMapper(format, ""), record(t, "product", productID, 1, &productpb.Event{Event: &productpb.Event_Created{Created: &productpb.Created{Product: product}}}))[0]
			if len(m.Value) > MaxDataBytes {
				t.Errorf("product: %d bytes", len(m.Value))
			}
		}
	}
}

// The messages of a record share memory and nothing else: each is what it is in
// a record of its own, also where texts outgrow what was set aside, and writing
// behind one leaves the next alone.
func TestMessagesOfARecordAreApart(t *testing.T) {
	for _, format := range []Format{JSON, Protobuf} {
		m := NewMapper(format, "")
		var events []proto.Message
		for i := range 40 {
			events = append(events, &orderpb.Event{AtMs: atMs + int64(i), Event: &orderpb.Event_Reserved{Reserved: &orderpb.Reserved{
				Total: eur(int64(i)), Lines: []*orderpb.LineHold{{Sku: "MUG", Name: strings.Repeat("ü", 13*i), Quantity: int64(i)}},
			}}})
		}
		together := mapRecord(t, m, record(t, "order", orderID, 1, events...))
		if len(together) != len(events) {
			t.Fatalf("%d messages of %d events", len(together), len(events))
		}
		for i := range together {
			_ = append(together[i].Value, "x"...)
			_ = append(together[i].Headers, Header{"x", "x"})
		}
		for i, e := range events {
			alone := mapRecord(t, m, record(t, "order", orderID, uint64(i+1), e))
			if diff := cmp.Diff(alone, together[i:i+1]); diff != "" {
				t.Fatalf("message %d (-alone +together)\n%s", i, diff)
			}
		}
	}
}
