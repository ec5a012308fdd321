package main

import (
	"encoding/json"
	"strings"
	"testing"
)

// A sale with a waiting room and with money, killed in the middle, small.
func TestDemoWithAWaitingRoomAndPayments(t *testing.T) {
	if testing.Short() {
		t.Skip("runs a whole sale")
	}
	t.Parallel()
	status, stdout, stderr := outcome(t, "demo", "--waiting-room", "--pay", "--crash", "--skus=2", "--units=60", "--shoppers=150", "--concurrency=32",
		"--hold=6s", "--events-format=protobuf", "--json")
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	var got struct {
		Units, Shoppers, Accepted, Oversold, Lost, Duplicates, EventsMissing, Crashes, Confirmed, Cancelled, Expired, Fulfilled int
		LimitExceeded, AllocationExceeded, AdmissionBypassed, AdmittedEarly, Intruders, Waited                                  int
		Captured, Refunded, Currency                                                                                            string
		Conserved, MoneyConserved, ShuffleProved, RebuiltFromEvents, Holds                                                      bool
	}
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &got); err != nil {
		t.Fatalf("%v\n%s\n%s", err, stdout, stderr)
	}
	if status != 0 || !got.Holds || !got.Conserved || !got.MoneyConserved || !got.ShuffleProved || !got.RebuiltFromEvents {
		t.Errorf("status %d, %+v\n%s", status, got, stderr)
	}
	if !strings.Contains(stderr, "wrong in the books") {
		t.Errorf("the payment provider was not asked for its books:\n%s", stderr)
	}
	if n := got.Oversold + got.Lost + got.Duplicates + got.EventsMissing + got.LimitExceeded + got.AllocationExceeded + got.AdmissionBypassed + got.AdmittedEarly; n != 0 {
		t.Errorf("%+v", got)
	}
	// It is a proof only if all of it has happened.
	if got.Units != 60 || got.Shoppers != 150 || got.Waited != 150 || got.Crashes != 1 || got.Accepted == 0 || got.Confirmed == 0 || got.Cancelled == 0 ||
		got.Expired == 0 || got.Fulfilled == 0 || got.Intruders == 0 || got.Captured == "0.00" || got.Refunded == "0.00" || got.Currency != "EUR" {
		t.Errorf("%+v", got)
	}
}
