package gateway_test

import (
	"encoding/json"
	"testing"
	"time"

	"stampede/gateway/httpapi"
	"stampede/gateway/waiting"
	"stampede/proto/gen/salepb"
)

// A ticket is told as it stands, as its place comes nearer, when its turn has
// come, and when the sale changes what it depends on; not when others join. The
// sale is asked once a change, however often its tickets are told.
func TestTicketChanged(t *testing.T) {
	inHall(t, httpapi.StreamLimits{}, func(t *testing.T, h *hall) {
		opened := time.Now()
		h.room.put(aSale, &salepb.SaleReply{EventVersion: 1, Sale: &salepb.Sale{Id: aSale, Schedule: &salepb.Schedule{
			Admission: salepb.Admission_ADMISSION_FIRST_COME, Opened: true, Joined: 5, AdmitPerSecond: 1, PerSecond: 1,
			FromMs: opened.UnixMilli(), StartsAtMs: opened.UnixMilli(), EndsAtMs: opened.Add(time.Hour).UnixMilli(),
		}}})
		c := h.signedIn(asAlice)
		c.subscribe("t", `subscription { ticketChanged(id: "`+waiting.NewSigner([]byte("0123456789abcdef0123456789abcdef")).Ticket(aSale, alice, 5)+`") { position estimatedWaitMs admissionToken } }`)
		type ticket struct {
			Position, EstimatedWaitMs int
			AdmissionToken            *string
		}
		next := func() (at time.Duration, got ticket) {
			t.Helper()
			text, err := c.read()
			var message struct {
				Type    string
				Payload struct {
					Data struct{ TicketChanged ticket }
				}
			}
			if err != nil || json.Unmarshal([]byte(text), &message) != nil || message.Type != "next" {
				t.Fatal(text, err)
			}
			return time.Since(opened), message.Payload.Data.TicketChanged
		}
		at, first := next()
		if first.Position != 5 || first.EstimatedWaitMs != int(5_000-at.Milliseconds()) || first.AdmissionToken != nil {
			t.Fatalf("at first, after %v: %+v", at, first)
		}
		told := 1
		for got, wait := first, first.EstimatedWaitMs; got.AdmissionToken == nil; told++ {
			if at, got = next(); got.AdmissionToken == nil && (got.EstimatedWaitMs >= wait || got.EstimatedWaitMs != int(5_000-at.Milliseconds())) {
				t.Fatalf("after %v: %+v, after %d", at, got, wait)
			}
			wait = got.EstimatedWaitMs
		}
		if at < 5*time.Second || at > 6100*time.Millisecond || told < 4 || told > 8 {
			t.Errorf("told %d times, let in after %v", told, at)
		}
		// Others join: nothing to tell. Then it is paused.
		began := time.Since(opened)
		for joined := range int64(5) {
			h.room.put(aSale, h.room.sale(joined+6))
			time.Sleep(2 * time.Second) //nolint:forbidigo // the bubble's clock
		}
		paused := h.room.sale(10)
		paused.Sale.Schedule.PerSecond = 0
		h.room.put(aSale, paused)
		if at, got := next(); at < began+10*time.Second || at > began+12*time.Second || got.AdmissionToken != nil {
			t.Errorf("paused %v later: %+v", at-began, got)
		}
	})
}
