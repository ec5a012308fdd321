package operation

import (
	"encoding/json"
	"strconv"
	"strings"

	"github.com/vektah/gqlparser/v2/ast"
)

// What an operation costs, in points: every object that it may return is one
// point, a field with @cost its weight, a scalar nothing. Lists multiply what
// is below them: by `first`, by the number of `skus`, or by assumedListSize.
const (
	assumedListSize   = 10
	maxPage           = 100
	introspectionCost = 500
)

// pricer adds up one operation. varies becomes true when the cost depends on
// variables, so that it cannot be kept with the document.
type pricer struct {
	vars   map[string]any
	varies bool
}

func (p *pricer) set(set ast.SelectionSet) int {
	total := 0
	for _, selection := range set {
		switch sel := selection.(type) {
		case *ast.Field:
			total = add(total, p.field(sel))
		case *ast.InlineFragment:
			total = add(total, p.set(sel.SelectionSet))
		case *ast.FragmentSpread:
			total = add(total, p.set(sel.Definition.SelectionSet))
		}
	}
	return total
}

func (p *pricer) field(f *ast.Field) int {
	switch {
	case f.Name == "__typename":
		return 0
	case strings.HasPrefix(f.Name, "__"): // the schema: the same size whoever asks, and its depth has a rule of its own
		return introspectionCost
	}
	own := 0
	if len(f.SelectionSet) > 0 {
		own = 1
	}
	if d := f.Definition.Directives.ForName("cost"); d != nil {
		if weight := d.Arguments.ForName("weight"); weight != nil {
			if n, err := strconv.Atoi(weight.Value.Raw); err == nil {
				own = n
			}
		}
	}
	return add(own, multiply(p.size(f), p.set(f.SelectionSet)))
}

// size is how many objects of what is below the field there may be.
func (p *pricer) size(f *ast.Field) int {
	for _, arg := range f.Definition.Arguments {
		switch arg.Name {
		case "first":
			return p.first(f, arg)
		case "skus":
			return p.length(f, arg)
		}
	}
	if f.Definition.Type.Elem == nil || f.Name == "userErrors" || strings.HasSuffix(f.ObjectDefinition.Name, "Connection") {
		return 1
	}
	return assumedListSize
}

func (p *pricer) first(f *ast.Field, def *ast.ArgumentDefinition) int {
	value := def.DefaultValue
	if arg := f.Arguments.ForName(def.Name); arg != nil {
		value = arg.Value
	}
	n := int64(maxPage)
	switch {
	case value == nil:
	case value.Kind == ast.Variable:
		p.varies = true
		switch v := p.vars[value.Raw].(type) {
		case int64:
			n = v
		case json.Number:
			n, _ = v.Int64()
		}
	default:
		n, _ = strconv.ParseInt(value.Raw, 10, 64)
	}
	return int(min(max(n, 1), maxPage)) // beyond that the resolver refuses it
}

func (p *pricer) length(f *ast.Field, def *ast.ArgumentDefinition) int {
	arg := f.Arguments.ForName(def.Name)
	if arg == nil {
		return 1
	}
	if arg.Value.Kind != ast.Variable {
		return max(len(arg.Value.Children), 1)
	}
	p.varies = true
	list, _ := p.vars[arg.Value.Raw].([]any)
	return min(max(len(list), 1), maxPage)
}

// add and multiply stop at a ceiling far above any limit, instead of overflowing.
const ceiling = 1 << 30

func add(a, b int) int { return min(a+b, ceiling) }

func multiply(a, b int) int {
	if a != 0 && b > ceiling/a {
		return ceiling
	}
	return a * b
}
