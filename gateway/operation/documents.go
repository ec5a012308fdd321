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

// textCache is an LRU over documents whose texts together take at most maxBytes.
type textCache[V any] struct {
	mu       sync.Mutex
	lru      *simplelru.LRU[string, entry[V]]
	bytes    int
	maxBytes int
}

type entry[V any] struct {
	value V
	bytes int
}

// smallestEntry is what an entry counts at least, so that many tiny ones are bounded too.
const smallestEntry = 128

func newTextCache[V any](maxBytes int) *textCache[V] {
	c := &textCache[V]{maxBytes: maxBytes}
	lru, err := simplelru.NewLRU[string, entry[V]](max(maxBytes/smallestEntry, 1), func(_ string, e entry[V]) { c.bytes -= e.bytes })
	if err != nil { // only for a size below 1
		panic(err)
	}
	c.lru = lru
	return c
}

func (c *textCache[V]) get(key string) (V, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.lru.Get(key)
	return e.value, ok
}

// put keeps the value unless its text is so long that it would push out a good part of the others.
func (c *textCache[V]) put(key string, value V, textBytes int) {
	size := max(textBytes, smallestEntry)
	if size > c.maxBytes/16 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lru.Contains(key) {
		return
	}
	c.lru.Add(key, entry[V]{value: value, bytes: size})
	c.bytes += size
	for c.bytes > c.maxBytes {
		c.lru.RemoveOldest()
	}
}
