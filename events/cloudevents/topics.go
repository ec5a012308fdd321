package cloudevents

// The topics of the published events. Their names are a promise.
const (
	TopicOrders      = "stampede.orders.v1"
	TopicStock       = "stampede.stock.v1"
	TopicStockLevels = "stampede.stock-levels.v1"
	TopicProducts    = "stampede.products.v1"
	TopicSales       = "stampede.sales.v1"
	TopicAccounts    = "stampede.accounts.v1"
)

// Topic is a topic that the mapping writes to.
type Topic struct {
	Name string
	// Compacted topics keep the newest value of each key, so values that were
	// never sent may be skipped for a newer one.
	Compacted bool
	// Key says what the keys are.
	Key string
	// source is the last part of ce_source.
	source string
}

// Topics lists every topic that Map can name.
func Topics() []Topic {
	return []Topic{
		{Name: TopicOrders, source: "/orders", Key: "order id"},
		{Name: TopicStock, source: "/stock", Key: "SKU"},
		{Name: TopicStockLevels, source: "/stock-levels", Key: "SKU", Compacted: true},
		{Name: TopicProducts, source: "/products", Key: "product id"},
		{Name: TopicSales, source: "/sales", Key: "sale id"},
		{Name: TopicAccounts, source: "/accounts", Key: "user id"},
	}
}

// SourceSuffix is what ce_source ends with.
func (t Topic) SourceSuffix() string { return t.source }
