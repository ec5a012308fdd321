package sku

import "stampede/proto/gen/skupb"

// stock is a SKU's units by state. onHand is their sum, always.
type stock struct {
	available, held, committed, unavailable int64
}

func (k stock) onHand() int64 { return k.available + k.held + k.committed + k.unavailable }

// possible reports whether there can be such a stock.
func (k stock) possible() bool {
	for _, n := range [...]int64{k.available, k.held, k.committed, k.unavailable} {
		if n < 0 || n > maxStock {
			return false
		}
	}
	return k.onHand() <= maxStock
}

// counted is the stock after a count found delta units more or fewer: missing
// ones leave available first, then unavailable, and never what orders have.
func (k stock) counted(delta int64) stock {
	k.available += delta
	if k.available < 0 {
		k.unavailable += k.available
		k.available = 0
	}
	return k
}

// returned is the stock after an order was refunded units.
func (k stock) returned(committed, fulfilled int64, restock bool) stock {
	k.committed -= committed
	if restock {
		k.available += committed + fulfilled
	} else {
		k.unavailable += committed
	}
	return k
}

func (k stock) message() *skupb.Stock {
	return &skupb.Stock{Available: k.available, Held: k.held, Committed: k.committed, Unavailable: k.unavailable}
}

func stockOf(m *skupb.Stock) stock {
	return stock{m.GetAvailable(), m.GetHeld(), m.GetCommitted(), m.GetUnavailable()}
}
