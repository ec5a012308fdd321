package publisher_test

import (
	"testing"
	"time"

	"stampede/internal/testservers"
)

// diskFull: the broker finds no room for what it is sent, gives up its log and
// ends. What was not acknowledged is kept here until there is room again.
func diskFull(t *testing.T, k *testservers.KafkaServer, s *brokerSuite) {
	t.Run("disk full", func(t *testing.T) { s.outage(t, 1, time.Second, k.Fill, k.MakeRoom) })
}
