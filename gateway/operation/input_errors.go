package operation

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"stampede/gateway/fault"
	"stampede/gateway/scalar"
)

// What is wrong with a document or its variables, told as the field that is
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
	if v.Definition == nil || v.Kind == ast.ObjectValue || v.Kind == ast.ListValue || v.Kind == ast.NullValue {
		return err.Message
	}
	if want := wantedOf(v.Definition); want != "" {
		return "must be " + want
	}
	return err.Message
}

// wantedOf is what a value of a type must be, in words.
func wantedOf(def *ast.Definition) string {
	switch {
	case def.Name == "Int":
		return scalar.WantInt
	case def.Name == "Decimal":
		return scalar.WantDecimal
	case def.Name == "String":
		return "a string"
	case def.Name == "ID":
		return "an id, a string"
	case def.Name == "Boolean":
		return "true or false"
	case def.Kind == ast.Enum:
		names := make([]string, len(def.EnumValues))
		for i, v := range def.EnumValues {
			names[i] = v.Name
		}
		return "one of " + strings.Join(names, ", ")
	case def.Kind == ast.InputObject:
		return "an object"
	}
	return ""
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

// variableError rewords what the coercion of variables says. Its path begins
// with "variable" and the variable's name, which stands for the `input`.
func variableError(schema *ast.Schema, err error) *gqlerror.Error {
	located, ok := errors.AsType[*gqlerror.Error](err)
	if !ok || len(located.Path) < 2 {
		return show(fault.New(fault.Invalid, "variables must fit the types that the operation declares"))
	}
	path := located.Path[1:]
	if len(path) > 1 {
		path = path[1:]
	}
	return show(&fault.Error{Code: fault.Invalid, Message: coercionMessage(schema, located.Message), Field: pathStrings(path)})
}

func coercionMessage(schema *ast.Schema, message string) string {
	switch message {
	case "must be defined", "cannot be null":
		return "must be given"
	case "unknown field":
		return "is not a field of this input"
	case "enums must be ints or strings":
		return "must be the name of an enum value, a string"
	}
	for _, marker := range [...]string{" is not a valid ", " as ", "must be a "} {
		i := strings.LastIndex(message, marker)
		if i < 0 {
			continue
		}
		name, _, _ := strings.Cut(message[i+len(marker):], ",")
		if def := schema.Types[name]; def != nil {
			if want := wantedOf(def); want != "" {
				return "must be " + want
			}
		}
	}
	return fmt.Sprintf("must fit its type: %s", message)
}

func itoa(i int) string { return strconv.Itoa(i) }

// toValid drops a character that was cut in two.
func toValid(s string) string { return strings.ToValidUTF8(s, "") }
