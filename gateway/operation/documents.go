package operation

import (
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/vektah/gqlparser/v2/ast"
)

// document is a parsed, validated and measured document with its operations.
// It is shared by requests and never changed.
type document struct {
	ast   *ast.QueryDocument
	plans []plan
	// conditions are the variables that @skip and @include depend on.
	conditions []string
}

// plan is one operation of a document.
type plan struct {
	op *ast.OperationDefinition
	// cost holds unless it varies with the variables.
	cost   int
	varies bool
	// plain are the root fields whose answers are written straight from structs.
	plain map[*ast.Field]writer
	// direct is how the whole operation is answered without gqlgen, if it is.
	direct *direct
	// event writes the events of a subscription, if they are plain.
	event writer
}

// find is the operation of the name; without a name there must be only one.
func (d *document) find(name string) *plan {
	if name == "" {
		if len(d.plans) == 1 {
			return &d.plans[0]
		}
		return nil
	}
	for i := range d.plans {
		if d.plans[i].op.Name == name {
			return &d.plans[i]
		}
	}
	return nil
}

// textCache is an LRU over values whose texts together take at most maxBytes.
type textCache[K comparable, V any] struct {
	mu       sync.Mutex
	lru      *simplelru.LRU[K, entry[V]]
	bytes    int
	maxBytes int
}

type entry[V any] struct {
	value V
	bytes int
}

// smallestEntry is what an entry counts at least, so that many tiny ones are bounded too.
const smallestEntry = 128

func newTextCache[K comparable, V any](maxBytes int) *textCache[K, V] {
	c := &textCache[K, V]{maxBytes: maxBytes}
	lru, err := simplelru.NewLRU[K, entry[V]](max(maxBytes/smallestEntry, 1), func(_ K, e entry[V]) { c.bytes -= e.bytes })
	if err != nil { // only for a size below 1
		panic(err)
	}
	c.lru = lru
	return c
}

func (c *textCache[K, V]) get(key K) (V, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.lru.Get(key)
	return e.value, ok
}

// put keeps the value unless its text is so long that it would push out a good part of the others.
func (c *textCache[K, V]) put(key K, value V, textBytes int) {
	c.set(key, value, textBytes, false)
}

// replace is put, and the value takes the place of one that is there.
func (c *textCache[K, V]) replace(key K, value V, textBytes int) {
	c.set(key, value, textBytes, true)
}

func (c *textCache[K, V]) set(key K, value V, textBytes int, replace bool) {
	size := max(textBytes, smallestEntry)
	if size > c.maxBytes/16 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lru.Contains(key) {
		if !replace {
			return
		}
		c.lru.Remove(key) // its bytes with it
	}
	c.lru.Add(key, entry[V]{value: value, bytes: size})
	c.bytes += size
	for c.bytes > c.maxBytes {
		c.lru.RemoveOldest()
	}
}
