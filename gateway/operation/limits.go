package operation

// Limits bound what one operation may ask for. Zero fields take the default.
type Limits struct {
	// Tokens bounds the document before it is parsed.
	Tokens int
	// Depth is how deep fields may nest; introspection, where it is on, is bounded by its own rule.
	Depth int
	// Fields counts fields after fragments are expanded.
	Fields  int
	Aliases int
	// RootFields counts the fields of one operation's root.
	RootFields int
	// Cost is the most that one operation may cost (see cost.go).
	Cost int
	// Errors is how many errors a response lists.
	Errors int
	// ResponseBytes bounds a response's data.
	ResponseBytes int
	// CachedText bounds the text of all cached documents together, and of all
	// persisted ones: a parsed document takes about 50 times its text.
	CachedText int
}

// DefaultLimits serve a page of 100 products with stock, and a 100-line order
// written out without variables.
func DefaultLimits() Limits {
	return Limits{
		Tokens: 4_000, Depth: 12, Fields: 600, Aliases: 30, RootFields: 10, Cost: 5_000,
		Errors: 20, ResponseBytes: 4 << 20, CachedText: 1 << 20,
	}
}

func (l Limits) orDefault() Limits {
	d := DefaultLimits()
	for _, f := range [...]struct{ have, byDefault *int }{
		{&l.Tokens, &d.Tokens},
		{&l.Depth, &d.Depth},
		{&l.Fields, &d.Fields},
		{&l.Aliases, &d.Aliases},
		{&l.RootFields, &d.RootFields},
		{&l.Cost, &d.Cost},
		{&l.Errors, &d.Errors},
		{&l.ResponseBytes, &d.ResponseBytes},
		{&l.CachedText, &d.CachedText},
	} {
		if *f.have <= 0 {
			*f.have = *f.byDefault
		}
	}
	return l
}
