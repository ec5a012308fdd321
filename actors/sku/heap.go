package sku

// heap is a binary heap: the smallest item by less is first. Adding, removing
// and taking the first are O(log n). less must be a total order, so that what
// comes first does not depend on how the heap came to be.
type heap[T any] struct {
	items []T
	less  func(a, b T) bool
	// moved is told where an item is now, -1 for nowhere; may be nil.
	moved func(item T, i int)
}

func (h *heap[T]) len() int { return len(h.items) }

func (h *heap[T]) first() (item T, ok bool) {
	if len(h.items) == 0 {
		return item, false
	}
	return h.items[0], true
}

func (h *heap[T]) push(item T) {
	h.items = append(h.items, item)
	h.put(item, len(h.items)-1)
	h.up(len(h.items) - 1)
}

func (h *heap[T]) remove(i int) T {
	item, last := h.items[i], len(h.items)-1
	h.swap(i, last)
	var none T
	h.items[last] = none
	h.items = h.items[:last]
	if i < last {
		h.down(i)
		h.up(i)
	}
	if h.moved != nil {
		h.moved(item, -1)
	}
	return item
}

func (h *heap[T]) put(item T, i int) {
	h.items[i] = item
	if h.moved != nil {
		h.moved(item, i)
	}
}

func (h *heap[T]) swap(i, j int) {
	a, b := h.items[i], h.items[j]
	h.put(b, i)
	h.put(a, j)
}

func (h *heap[T]) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if !h.less(h.items[i], h.items[parent]) {
			return
		}
		h.swap(i, parent)
		i = parent
	}
}

func (h *heap[T]) down(i int) {
	for {
		child := 2*i + 1
		if child >= len(h.items) {
			return
		}
		if right := child + 1; right < len(h.items) && h.less(h.items[right], h.items[child]) {
			child = right
		}
		if !h.less(h.items[child], h.items[i]) {
			return
		}
		h.swap(i, child)
		i = child
	}
}

// walk yields the items of a heap in order without changing it: the frontier
// has the smallest of what was not yielded yet. The n-th costs O(log n),
// whatever the size of the heap.
type walk[T any] struct {
	of       *heap[T]
	frontier heap[int]
}

func walkOf[T any](of *heap[T]) *walk[T] {
	w := &walk[T]{of: of}
	w.frontier.less = func(i, j int) bool { return of.less(of.items[i], of.items[j]) }
	if of.len() > 0 {
		w.frontier.push(0)
	}
	return w
}

// peek is the next item; ok is false when there is none.
func (w *walk[T]) peek() (item T, ok bool) {
	i, ok := w.frontier.first()
	if !ok {
		return item, false
	}
	return w.of.items[i], true
}

// skip goes past the next item, which there must be.
func (w *walk[T]) skip() {
	i := w.frontier.remove(0)
	for child := 2*i + 1; child <= 2*i+2 && child < w.of.len(); child++ {
		w.frontier.push(child)
	}
}
