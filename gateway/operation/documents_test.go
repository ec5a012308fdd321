package operation

import (
	"fmt"
	"testing"
)

// The cache is bounded by the text that it keeps, whatever the sizes are.
func TestTextCacheIsBounded(t *testing.T) {
	const limit = 64 << 10
	c := newTextCache[string, int](limit)
	for i := range 10_000 {
		size := []int{1, 100, 1_000, limit / 16, limit / 2}[i%5]
		c.put(fmt.Sprint(i), i, size)
		if c.bytes > limit || c.bytes < 0 || c.lru.Len() > limit/smallestEntry {
			t.Fatalf("%d bytes in %d entries", c.bytes, c.lru.Len())
		}
	}
	if _, ok := c.get("9998"); !ok {
		t.Error("the newest that fits is not kept")
	}
	if _, ok := c.get("9999"); ok {
		t.Error("a text of half the cache is kept")
	}
	c.put("9998", 1, 1) // once more: counted once
	for i := range 10_000 {
		c.put(fmt.Sprint("x", i), i, 500)
	}
	if total := c.lru.Len() * 500; total != c.bytes {
		t.Errorf("%d bytes are counted, %d are kept", c.bytes, total)
	}
}
