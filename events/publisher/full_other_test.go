//go:build !linux

package publisher_test

import (
	"testing"

	"stampede/internal/testservers"
)

// diskFull needs prlimit(2).
func diskFull(*testing.T, *testservers.KafkaServer, *brokerSuite) {}
