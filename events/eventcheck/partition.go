package eventcheck

import "encoding/binary"

// Partition is where the Java client's default partitioner puts a key: murmur2
// by Austin Appleby, with Kafka's seed, its sign bit cleared. It is written here
// again, so that the check does not rest on what it checks.
func Partition(key string, partitions int) int {
	return int(murmur2([]byte(key))&0x7fffffff) % max(partitions, 1)
}

func murmur2(b []byte) uint32 {
	const (
		m = 0x5bd1e995
		r = 24
	)
	h := 0x9747b28c ^ uint32(len(b)) //nolint:gosec // as the algorithm has it
	for ; len(b) >= 4; b = b[4:] {
		k := binary.LittleEndian.Uint32(b) * m
		k ^= k >> r
		h = h*m ^ k*m
	}
	switch len(b) {
	case 3:
		h ^= uint32(b[2]) << 16
		fallthrough
	case 2:
		h ^= uint32(b[1]) << 8
		fallthrough
	case 1:
		h = (h ^ uint32(b[0])) * m
	}
	h = (h ^ h>>13) * m
	return h ^ h>>15
}
