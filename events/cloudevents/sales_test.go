package cloudevents

import (
	"bytes"
	"strings"
	"testing"

	"stampede/internal/eventschemas"
	"stampede/proto/gen/commonpb"
	"stampede/proto/gen/salepb"
	"stampede/proto/gen/skupb"
)

const saleID = "sal_abcdefghijklmnopqrstuvwx23"

func TestSaleEvents(t *testing.T) {
	id := `"saleId":"` + saleID + `"`
	cases := []struct {
		event *salepb.Event
		typ   string
		data  string
	}{
		{
			&salepb.Event{Event: &salepb.Event_Drafted{Drafted: &salepb.Drafted{Name: "Black Friday", ShuffleSecret: []byte("hidden"), IdempotencyKey: "secret-key"}}},
			"SaleDrafted", `{` + id + `,"name":"Black Friday"}`,
		},
		{
			&salepb.Event{Event: &salepb.Event_Scheduled{Scheduled: &salepb.Scheduled{
				Name: "Black Friday", StartsAtMs: 1, EndsAtMs: 2, PerCustomerLimit: 3, Admission: salepb.Admission_ADMISSION_SHUFFLED_AT_OPENING,
				Items: []*salepb.CreateItem{{Sku: "A", SalePrice: eur(990), Allocation: 5}}, ShuffleCommitment: bytes.Repeat([]byte{0xab}, 32),
			}}},
			"SaleScheduled", `{` + id + `,"name":"Black Friday","startsAtMs":1,"endsAtMs":2,"perCustomerLimit":3,"admission":"SHUFFLED_AT_OPENING","items":[{"sku":"A","salePrice":{"minorUnits":990,"currency":"EUR"},"allocation":5}],"shuffleCommitment":"` + strings.Repeat("ab", 32) + `"}`,
		},
		{
			&salepb.Event{Event: &salepb.Event_Rejected{Rejected: &salepb.Rejected{Refusal: &commonpb.Refusal{Reason: commonpb.Reason_REASON_CONFLICT, Message: "taken"}}}},
			"SaleRejected", `{` + id + `,"code":"CONFLICT","message":"taken"}`,
		},
		{
			&salepb.Event{Event: &salepb.Event_Opened{Opened: &salepb.Opened{JoinedEarly: 7, ShuffleSecret: []byte{0xff}}}},
			"SaleOpened", `{` + id + `,"joined":7,"shuffleSecret":"ff"}`,
		},
		{&salepb.Event{Event: &salepb.Event_Opened{Opened: &salepb.Opened{}}}, "SaleOpened", `{` + id + `,"joined":0}`},
		{&salepb.Event{Event: &salepb.Event_Paused{Paused: &salepb.Paused{ActorId: "usr_abcdefghijklmnopqrstuvwx23"}}}, "SalePaused", `{` + id + `}`},
		{&salepb.Event{Event: &salepb.Event_Resumed{Resumed: &salepb.Resumed{ActorId: "usr_abcdefghijklmnopqrstuvwx23"}}}, "SaleResumed", `{` + id + `}`},
		{
			&salepb.Event{Event: &salepb.Event_Rescheduled{Rescheduled: &salepb.Rescheduled{StartsAtMs: 3, EndsAtMs: 4}}},
			"SaleRescheduled", `{` + id + `,"startsAtMs":3,"endsAtMs":4}`,
		},
		{
			&salepb.Event{Event: &salepb.Event_AdmissionChanged{AdmissionChanged: &salepb.AdmissionChanged{AdmitPerSecond: 50}}},
			"SaleAdmissionChanged", `{` + id + `,"admitPerSecond":50}`,
		},
		{
			&salepb.Event{Event: &salepb.Event_StockReported{StockReported: &salepb.StockReported{Sku: "A", SoldOut: true}}},
			"SaleItemReported", `{` + id + `,"sku":"A","soldOut":true}`,
		},
		{
			&salepb.Event{Event: &salepb.Event_StockReported{StockReported: &salepb.StockReported{Sku: "A", SoldOut: true, SaleSoldOut: true, Changed: true}}},
			"SaleSoldOut", `{` + id + `}`,
		},
		{&salepb.Event{Event: &salepb.Event_StockReported{StockReported: &salepb.StockReported{Sku: "A", Changed: true}}}, "SaleRestocked", `{` + id + `}`},
		{
			&salepb.Event{Event: &salepb.Event_SkusConfigured{SkusConfigured: &salepb.SkusConfigured{ConfigVersion: 4}}},
			"SaleSkusConfigured", `{` + id + `,"configVersion":4}`,
		},
		{
			&salepb.Event{Event: &salepb.Event_Joined{Joined: &salepb.Joined{CustomerId: "usr_abcdefghijklmnopqrstuvwx23", Number: 9}}},
			"SaleJoined", `{` + id + `,"customerId":"usr_abcdefghijklmnopqrstuvwx23","number":9}`,
		},
		{&salepb.Event{Event: &salepb.Event_Ended{Ended: &salepb.Ended{ActorId: "usr_abcdefghijklmnopqrstuvwx23"}}}, "SaleEnded", `{` + id + `}`},
	}
	schemas := eventschemas.Load(t, "../..")
	for _, c := range cases {
		m := mapRecord(t, NewMapper(JSON, ""), record(t, "sale", saleID, 3, c.event))[0]
		if m.Topic != TopicSales || m.Key != saleID || header(m, "ce_type") != c.typ || string(m.Value) != c.data {
			t.Errorf("%s %s %s\n got %s\nwant %s", m.Topic, m.Key, header(m, "ce_type"), m.Value, c.data)
		}
		if err := schemas.Validate(header(m, "ce_dataschema"), m.Value); err != nil {
			t.Error(err)
		}
	}
}

func TestASKUsEventsOfASale(t *testing.T) {
	after := &skupb.Stock{Available: 5}
	cases := []struct {
		event *skupb.Event
		typ   string
		data  string
	}{
		{
			&skupb.Event{After: after, Event: &skupb.Event_SaleConfigured{SaleConfigured: &skupb.SaleConfigured{Sale: &skupb.ConfigureSale{
				SaleId: saleID, StartsAtMs: 1, EndsAtMs: 2, Price: eur(990), Allocation: 5, PerCustomerLimit: 1, Paused: true,
			}}}},
			"SkuSaleConfigured", `{"sku":"A","saleId":"` + saleID + `","startsAtMs":1,"endsAtMs":2,"salePrice":{"minorUnits":990,"currency":"EUR"},"allocation":5,"perCustomerLimit":1,"paused":true,"ended":false,"level":`,
		},
		{&skupb.Event{After: after, Event: &skupb.Event_SaleClosed{SaleClosed: &skupb.SaleClosed{SaleId: saleID}}}, "SkuSaleClosed", `{"sku":"A","saleId":"` + saleID + `","level":`},
		{
			&skupb.Event{After: after, Event: &skupb.Event_SaleReported{SaleReported: &skupb.SaleReported{SaleId: saleID, SoldOut: true}}},
			"SkuSaleReported", `{"sku":"A","saleId":"` + saleID + `","soldOut":true,"level":`,
		},
	}
	schemas := eventschemas.Load(t, "../..")
	for _, c := range cases {
		m := mapRecord(t, NewMapper(JSON, ""), record(t, "sku", "A", 3, c.event))[0]
		if m.Topic != TopicStock || header(m, "ce_type") != c.typ || !strings.HasPrefix(string(m.Value), c.data) {
			t.Errorf("%s %s\n got %s\nwant %s…", m.Topic, header(m, "ce_type"), m.Value, c.data)
		}
		if err := schemas.Validate(header(m, "ce_dataschema"), m.Value); err != nil {
			t.Error(err)
		}
	}
}
