package publisher

import (
	"testing"

	"github.com/segmentio/kafka-go"
)

// TestPartitionsAreTheJavaClients: the hashes are those of Apache Kafka's own
// test of its murmur2 (UtilsTest.testMurmur2).
func TestPartitionsAreTheJavaClients(t *testing.T) {
	for key, hash := range map[string]int32{
		"21":                         -973932308,
		"foobar":                     -790332482,
		"a-little-bit-long-string":   -985981536,
		"a-little-bit-longer-string": -1486304829,
		"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
		"abc": 479470107,
	} {
		want := int(hash&0x7fffffff) % Partitions
		if got := (kafka.Murmur2Balancer{Consistent: true}).Balance(kafka.Message{Key: []byte(key)}, ids(Partitions)...); got != want {
			t.Errorf("%s: partition %d, want %d", key, got, want)
		}
	}
}

func TestSequencesWrap(t *testing.T) {
	const largest = 1<<31 - 1
	for _, c := range []struct{ sequence, n, want int32 }{{0, 5, 5}, {largest, 1, 0}, {largest - 1, 1, largest}, {largest - 2, 10, 7}} {
		if got := nextSequence(c.sequence, int(c.n)); got != c.want {
			t.Errorf("%d after %d is %d, want %d", c.n, c.sequence, got, c.want)
		}
	}
}

func ids(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}
