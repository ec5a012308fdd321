package walk

import (
	"flag"
	"fmt"
	"testing"
	"time"

	"stampede/internal/testshop"
)

var races = flag.Int("races", 1000, "how many payments race the deadline of their holds, in each place")

// TestCrowds has many at once want what there is too little of.
func TestCrowds(t *testing.T) {
	customers := 1000
	if testing.Short() {
		customers = 100
	}
	for _, place := range testshop.Places() {
		t.Run(place.Name, func(t *testing.T) {
			t.Parallel()
			s := openShop(t, place, testshop.Config{})
			NewCrowd(t, s, nil, "LAST").LastUnit(customers, firstSeed(t))
			NewCrowd(t, s, nil, "LIMIT").Limit(100)
			NewCrowd(t, s, nil, "DISPUTE").Disputes(customers/20, firstSeed(t))
		})
	}
}

// TestPayRacingExpiry has payments come at the moment when the hold ends. Exactly
// one wins: what is sold was paid for, and nothing else was.
func TestPayRacingExpiry(t *testing.T) {
	const atOnce = 500
	left := *races
	if testing.Short() {
		left = 100
	}
	for _, place := range testshop.Places() {
		t.Run(place.Name, func(t *testing.T) {
			t.Parallel()
			s := openShop(t, place, testshop.Config{})
			for n := 0; n < left; n += atOnce {
				NewCrowd(t, s, s.hasty(2*time.Second), fmt.Sprint("LATE", n)).PayRacingExpiry(min(atOnce, left-n), firstSeed(t))
			}
		})
	}
}
