package operation

import (
	"fmt"
	"slices"
	"strings"

	"github.com/vektah/gqlparser/v2/ast"

	"stampede/gateway/fault"
)

// shape measures a parsed document before it is validated: validation compares
// fields pairwise, so a document must be small before it comes that far.
// Fragments count wherever they are spread; depth and count end cycles.
type shape struct {
	doc           *ast.QueryDocument
	limits        *Limits
	fields        int
	aliases       int
	roots         int
	introspection bool
	// conditions are the variables that @skip and @include depend on.
	conditions []string
}

// check measures every operation of the document.
func (s *shape) check() *fault.Error {
	for _, op := range s.doc.Operations {
		s.roots = 0
		if err := s.walk(op.SelectionSet, 1, false); err != nil {
			return err
		}
	}
	for _, f := range s.doc.Fragments { // also those that nothing spreads
		s.roots = 0
		if err := s.walk(f.SelectionSet, 1, strings.HasPrefix(f.TypeCondition, "__")); err != nil {
			return err
		}
	}
	return nil
}

func (s *shape) walk(set ast.SelectionSet, depth int, meta bool) *fault.Error {
	for _, selection := range set {
		if s.fields++; s.fields > s.limits.Fields {
			return tooComplex("at most %d fields in one request, with fragments expanded", s.limits.Fields)
		}
		if err := s.selection(selection, depth, meta); err != nil {
			return err
		}
	}
	return nil
}

func (s *shape) selection(selection ast.Selection, depth int, meta bool) *fault.Error {
	switch sel := selection.(type) {
	case *ast.Field:
		s.condition(sel.Directives)
		if sel.Alias != sel.Name {
			if s.aliases++; s.aliases > s.limits.Aliases {
				return tooComplex("at most %d aliases in one request", s.limits.Aliases)
			}
		}
		if depth == 1 {
			if s.roots++; s.roots > s.limits.RootFields {
				return tooComplex("at most %d root fields in one operation", s.limits.RootFields)
			}
		}
		meta = meta || sel.Name == "__schema" || sel.Name == "__type"
		s.introspection = s.introspection || meta
		if depth > s.limits.Depth && !meta {
			return tooComplex("at most %d levels of fields", s.limits.Depth)
		}
		return s.walk(sel.SelectionSet, depth+1, meta)
	case *ast.InlineFragment:
		s.condition(sel.Directives)
		return s.walk(sel.SelectionSet, depth, meta)
	case *ast.FragmentSpread:
		s.condition(sel.Directives)
		if fragment := s.doc.Fragments.ForName(sel.Name); fragment != nil {
			return s.walk(fragment.SelectionSet, depth, meta)
		}
	}
	return nil
}

func (s *shape) condition(directives ast.DirectiveList) {
	for _, d := range directives {
		if arg := d.Arguments.ForName("if"); arg != nil && arg.Value != nil && arg.Value.Kind == ast.Variable && !slices.Contains(s.conditions, arg.Value.Raw) {
			s.conditions = append(s.conditions, arg.Value.Raw)
		}
	}
}

func tooComplex(format string, args ...any) *fault.Error {
	return fault.New(fault.TooComplex, "too much in one request: "+fmt.Sprintf(format, args...))
}
