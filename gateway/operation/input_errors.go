package operation

import (
	"errors"
	"strconv"
	"strings"

	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"stampede/gateway/fault"
)

// What is wrong with a document, told as the field that is
// wrong and what would be right.

func parseError(err error, tokens int) *gqlerror.Error {
	if strings.Contains(err.Error(), "token limit") {
		return show(tooComplex("at most %d tokens in one document", tokens))
	}
	shown := show(fault.New(fault.ParseFailed, "the document is not GraphQL"))
	if located, ok := errors.AsType[*gqlerror.Error](err); ok {
		shown.Message = "the document is not GraphQL: " + located.Message
		shown.Locations = located.Locations
	}
	return shown
}

// validationErrors are the errors of a document; a literal of the wrong type is named by its field.
func validationErrors(doc *ast.QueryDocument, errs gqlerror.List) gqlerror.List {
	out := make(gqlerror.List, 0, len(errs))
	for _, err := range errs {
		shown := show(fault.New(fault.ValidationFailed, err.Message))
		if strings.HasPrefix(err.Rule, "ValuesOfCorrectType") || err.Rule == numbersFit {
			if field, value := locate(doc, err.Locations); value != nil {
				shown = show(&fault.Error{Code: fault.Invalid, Message: literalMessage(err, value), Field: field})
			}
		}
		shown.Locations = err.Locations
		out = append(out, shown)
	}
	return out
}

func literalMessage(err *gqlerror.Error, v *ast.Value) string {
	if v.Definition == nil || err.Rule == numbersFit || v.Kind == ast.ObjectValue || v.Kind == ast.ListValue || v.Kind == ast.NullValue {
		return err.Message
	}
	return "must be " + wantedOf(v.Definition)
}

// locate finds the literal at a place and the path of the input field it is for.
func locate(doc *ast.QueryDocument, at []gqlerror.Location) ([]string, *ast.Value) {
	if len(at) == 0 {
		return nil, nil
	}
	l := locator{doc: doc, at: at[0]}
	for _, op := range doc.Operations {
		l.set(op.SelectionSet)
	}
	for _, f := range doc.Fragments {
		l.set(f.SelectionSet)
	}
	return l.field, l.found
}

type locator struct {
	doc   *ast.QueryDocument
	at    gqlerror.Location
	field []string
	found *ast.Value
}

func (l *locator) set(set ast.SelectionSet) {
	for _, selection := range set {
		switch sel := selection.(type) {
		case *ast.Field:
			for _, arg := range sel.Arguments {
				l.value(arg.Value, ast.Path{ast.PathName(arg.Name)})
			}
			l.set(sel.SelectionSet)
		case *ast.InlineFragment:
			l.set(sel.SelectionSet)
		}
	}
}

func (l *locator) value(v *ast.Value, path ast.Path) {
	if v == nil || l.found != nil {
		return
	}
	if v.Position != nil && v.Position.Line == l.at.Line && v.Position.Column == l.at.Column {
		l.found, l.field = v, inputField(path, 0)
		return
	}
	for i, child := range v.Children {
		if v.Kind == ast.ListValue {
			l.value(child.Value, append(path[:len(path):len(path)], ast.PathIndex(i)))
		} else {
			l.value(child.Value, append(path[:len(path):len(path)], ast.PathName(child.Name)))
		}
	}
}

func itoa(i int) string { return strconv.Itoa(i) }

// toValid drops a character that was cut in two.
func toValid(s string) string { return strings.ToValidUTF8(s, "") }
