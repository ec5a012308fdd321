package eventcheck

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/segmentio/kafka-go"

	"stampede/internal/testservers"
)

func TestMain(m *testing.M) { testservers.Main(m) }

// TestHashes: those of Apache Kafka's own test of its murmur2 (UtilsTest.testMurmur2).
func TestHashes(t *testing.T) {
	for key, want := range map[string]int32{
		"21": -973932308, "foobar": -790332482, "a-little-bit-long-string": -985981536, "a-little-bit-longer-string": -1486304829,
		"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971, "abc": 479470107,
	} {
		if got := int32(murmur2([]byte(key))); got != want { //nolint:gosec // the same bits
			t.Errorf("%s: %d, want %d", key, got, want)
		}
	}
}

// TestPartitionsAreTheJavaClients asks the real one, for keys of every length
// and for those that the shop makes.
func TestPartitionsAreTheJavaClients(t *testing.T) {
	java, classPath := testservers.KafkaClient(t)
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 1))
	var keys []string
	for n := range 400 {
		b := make([]byte, n%40)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		keys = append(keys, string(b), fmt.Sprintf("SKU-%d", r.IntN(1000)), fmt.Sprintf("ord_%026d", r.Uint64()))
	}
	for _, partitions := range []int{1, 7, 12} {
		var in bytes.Buffer
		for _, key := range keys {
			fmt.Fprintln(&in, hex.EncodeToString([]byte(key)))
		}
		cmd := exec.CommandContext(t.Context(), java, "-XX:TieredStopAtLevel=1", "-cp", classPath, filepath.Join("testdata", "Partitions.java"), fmt.Sprint(partitions))
		cmd.Stdin = &in
		var stderr strings.Builder
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%v\n%s", err, stderr.String())
		}
		ids := make([]int, partitions)
		for i := range ids {
			ids[i] = i
		}
		lines := bufio.NewScanner(bytes.NewReader(out))
		for _, key := range keys {
			if !lines.Scan() {
				t.Fatalf("seed %d: too few answers", seed)
			}
			if got := fmt.Sprint(Partition(key, partitions)); got != lines.Text() {
				t.Errorf("seed %d: %q of %d: %s, the Java client says %s", seed, key, partitions, got, lines.Text())
			}
			// What the publisher asks.
			balancer := kafka.Murmur2Balancer{Consistent: true}
			if got := fmt.Sprint(balancer.Balance(kafka.Message{Key: []byte(key)}, ids...)); got != lines.Text() {
				t.Errorf("seed %d: %q of %d: the publisher says %s, the Java client %s", seed, key, partitions, got, lines.Text())
			}
		}
	}
}
