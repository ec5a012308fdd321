package operation

import (
	"reflect"
	"strings"

	"github.com/vektah/gqlparser/v2/ast"
)

// gqlgen writes an answer field by field: for each it makes contexts, closures
// and a marshaller, which for an order is several times the work of deciding
// it. Most of what is answered is plain data, though: once the root field's
// resolver has returned its struct, every selected field is a field of some
// struct. For those selections a plan is made, once for a cached document,
// that writes the answer straight from the structs (write.go). Whatever is not
// plain (a field with a resolver of its own, a condition that depends on a
// variable) has no plan and goes gqlgen's way; a test compares the two.

// Types tells the planner what the schema's types are in Go.
type Types struct {
	// Root is the generated interface of all resolvers: what it has a method
	// for is not plain. Nil: nothing is.
	Root reflect.Type
	// Members are the structs behind interface types, by their GraphQL name.
	Members map[string]reflect.Type
	// Direct are the root fields, such as Query.products, that can be resolved
	// without gqlgen.
	Direct map[string]Direct
	// Filled are fields, such as Variant.stock, that have a resolver and are in
	// the struct as well, where a Direct that was asked to Fill puts them.
	Filled map[string]bool
}

// planner makes plans from the selections of one document.
type planner struct {
	schema *ast.Schema
	doc    *ast.QueryDocument
	types  Types
	// filled becomes true when a field is planned that has to be filled; nil: there are none.
	filled *bool
}

// object is how the selected fields of one struct are written, in order.
type object struct {
	fields []planned
}

// planned is one field: `"name":` and how its value is written.
type planned struct {
	key   string
	value writer
}

// operation makes the plans of the root fields that can have one.
func (p *planner) operation(op *ast.OperationDefinition) map[*ast.Field]writer {
	if p.types.Root == nil || len(op.Directives) > 0 {
		return nil
	}
	root := p.root(op)
	seen := make(map[string]bool)
	plans := make(map[*ast.Field]writer)
	for _, selection := range op.SelectionSet {
		field, ok := selection.(*ast.Field)
		if !ok || seen[field.Alias] || len(field.Directives) > 0 {
			return nil // fields that merge are gqlgen's business
		}
		seen[field.Alias] = true
		if len(field.SelectionSet) == 0 || strings.HasPrefix(field.Name, "__") {
			continue
		}
		t := p.resolved(root.Name, field.Name)
		if t == nil || t.Kind() != reflect.Pointer && t.Kind() != reflect.Slice {
			continue
		}
		nullable := *field.Definition.Type
		nullable.NonNull = false // what is nil never comes to the plan
		if w := p.value(&nullable, t, field.SelectionSet); w != nil {
			plans[field] = w
		}
	}
	return plans
}

// root is the type of an operation's root fields.
func (p *planner) root(op *ast.OperationDefinition) *ast.Definition {
	if op.Operation == ast.Mutation {
		return p.schema.Mutation
	}
	return p.schema.Query
}

// resolved is what the resolver of a field returns, nil if it has none.
func (p *planner) resolved(object, field string) reflect.Type {
	resolvers, ok := p.types.Root.MethodByName(upperFirst(object))
	if !ok {
		return nil
	}
	resolver, ok := methodFold(resolvers.Type.Out(0), field)
	if !ok {
		return nil
	}
	return resolver.Type.Out(0)
}

// value plans a value of a GraphQL type that is t in Go; nil if it is not plain.
func (p *planner) value(g *ast.Type, t reflect.Type, set ast.SelectionSet) writer {
	if t.Kind() == reflect.Pointer {
		if g.NonNull { // a nil would be an error, which is gqlgen's business
			return nil
		}
		if w := p.value(g, t.Elem(), set); w != nil {
			return pointerWriter(w)
		}
		return nil
	}
	if g.Elem != nil {
		if t.Kind() != reflect.Slice {
			return nil
		}
		if w := p.value(g.Elem, t.Elem(), set); w != nil {
			return listWriter(w, g.NonNull)
		}
		return nil
	}
	switch def := p.schema.Types[g.NamedType]; def.Kind {
	case ast.Object:
		return p.structure(def, t, set)
	case ast.Interface:
		return p.member(def, t, set)
	case ast.Scalar, ast.Enum:
		return scalarWriter(t)
	case ast.Union, ast.InputObject:
	}
	return nil
}

// structure plans an object.
func (p *planner) structure(def *ast.Definition, t reflect.Type, set ast.SelectionSet) writer {
	if t.Kind() != reflect.Struct {
		return nil
	}
	selected, ok := p.collect(def, set, nil)
	if !ok {
		return nil
	}
	out := object{fields: make([]planned, len(selected))}
	for i, s := range selected {
		w := p.field(def, t, s)
		if w == nil {
			return nil
		}
		out.fields[i] = planned{key: key(s.alias, i > 0), value: w}
	}
	return out.write
}

func (p *planner) field(def *ast.Definition, t reflect.Type, s selected) writer {
	if s.name == "__typename" {
		return textWriter(def.Name)
	}
	if p.resolved(def.Name, s.name) != nil {
		if p.filled == nil || !p.types.Filled[def.Name+"."+s.name] {
			return nil
		}
		*p.filled = true
	}
	definition := def.Fields.ForName(s.name)
	if at, ok := fieldNamed(t, s.name); ok {
		if w := p.value(definition.Type, at.Type, s.set); w != nil {
			return fieldWriter(at.Index[0], w)
		}
		return nil
	}
	return appenderWriter(t, s.name)
}

// member plans a value of an interface type: a plan for each struct that may be behind it.
func (p *planner) member(def *ast.Definition, t reflect.Type, set ast.SelectionSet) writer {
	if t.Kind() != reflect.Interface {
		return nil
	}
	plans := make(map[reflect.Type]writer)
	for _, possible := range p.schema.PossibleTypes[def.Name] {
		member := p.types.Members[possible.Name]
		if member == nil {
			return nil
		}
		if plans[member] = p.structure(possible, member, set); plans[member] == nil {
			return nil
		}
	}
	return memberWriter(plans)
}

// selected is a field after fragments are expanded and repetitions merged.
type selected struct {
	alias, name string
	set         ast.SelectionSet
}

// collect is the specification's CollectFields for one object type. It gives
// up where a variable decides.
func (p *planner) collect(def *ast.Definition, set ast.SelectionSet, have []selected) ([]selected, bool) {
	ok := true
	for _, selection := range set {
		switch sel := selection.(type) {
		case *ast.Field:
			if len(sel.Directives) > 0 {
				return nil, false
			}
			have = merge(have, sel)
		case *ast.InlineFragment:
			if len(sel.Directives) > 0 {
				return nil, false
			}
			if sel.TypeCondition == "" || p.is(def, sel.TypeCondition) {
				have, ok = p.collect(def, sel.SelectionSet, have)
			}
		case *ast.FragmentSpread:
			if len(sel.Directives) > 0 {
				return nil, false
			}
			if fragment := p.doc.Fragments.ForName(sel.Name); p.is(def, fragment.TypeCondition) {
				have, ok = p.collect(def, fragment.SelectionSet, have)
			}
		}
		if !ok {
			return nil, false
		}
	}
	return have, true
}

func merge(have []selected, f *ast.Field) []selected {
	for i := range have {
		if have[i].alias == f.Alias { // validation has seen to it that they are the same field
			have[i].set = append(have[i].set[:len(have[i].set):len(have[i].set)], f.SelectionSet...)
			return have
		}
	}
	return append(have, selected{alias: f.Alias, name: f.Name, set: f.SelectionSet})
}

// is reports whether an object type satisfies a type condition.
func (p *planner) is(def *ast.Definition, condition string) bool {
	if def.Name == condition {
		return true
	}
	for _, name := range def.Interfaces {
		if name == condition {
			return true
		}
	}
	return false
}

// fieldNamed finds the struct's field for a GraphQL field: by its json tag as
// gqlgen generates it, else by name.
func fieldNamed(t reflect.Type, name string) (reflect.StructField, bool) {
	for i := range t.NumField() {
		f := t.Field(i)
		tag, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.IsExported() && (tag == name || tag == "" && strings.EqualFold(f.Name, name)) {
			return f, true
		}
	}
	return reflect.StructField{}, false
}

func methodFold(t reflect.Type, name string) (reflect.Method, bool) {
	for i := range t.NumMethod() {
		if m := t.Method(i); strings.EqualFold(m.Name, name) {
			return m, true
		}
	}
	return reflect.Method{}, false
}

func upperFirst(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

func key(alias string, comma bool) string {
	if comma {
		return `,"` + alias + `":`
	}
	return `"` + alias + `":`
}
