package operation

import (
	"encoding/json"
	"math"
	"strconv"

	"github.com/vektah/gqlparser/v2/ast"

	"stampede/gateway/fault"
	"stampede/gateway/scalar"
)

// Coercion of variables, as the GraphQL specification says ("Coercing Variable
// Values"): what comes out fits the declared types, with defaults filled in.
// It is stricter than the parser library's in what the specification forbids
// (a number for a String, a lower-case enum value), does no reflection, and
// says which field is wrong and what would be right.

// coercer coerces the variables of one operation. path is the place that is
// being looked at, below the variable.
type coercer struct {
	schema *ast.Schema
	path   []string
	fault  *fault.Error
}

func coerceVariables(schema *ast.Schema, op *ast.OperationDefinition, sent map[string]any) (map[string]any, *fault.Error) {
	if len(op.VariableDefinitions) == 0 {
		return nil, nil
	}
	out := make(map[string]any, len(op.VariableDefinitions))
	c := coercer{schema: schema}
	for _, def := range op.VariableDefinitions {
		value, given := sent[def.Variable]
		if !given && def.DefaultValue != nil {
			byDefault, err := def.DefaultValue.Value(nil)
			if err != nil {
				return nil, fault.InvalidField("has a default that is out of range", def.Variable)
			}
			out[def.Variable] = byDefault
			continue
		}
		if !given && !def.Type.NonNull {
			continue
		}
		coerced := c.value(def.Type, value)
		if c.fault != nil {
			if len(c.fault.Field) == 0 { // the variable itself
				c.fault.Field = []string{def.Variable}
			}
			return nil, c.fault
		}
		out[def.Variable] = coerced
	}
	return out, nil
}

// checkConditions refuses a null where a condition is: a variable with a default
// may be null, and then it is for the place where it is used to refuse it. The
// executor panics instead.
func checkConditions(conditions []string, vars map[string]any) *fault.Error {
	for _, name := range conditions {
		if v, given := vars[name]; given && v == nil {
			return fault.InvalidField("must be true or false, as @skip and @include need it", name)
		}
	}
	return nil
}

func (c *coercer) value(t *ast.Type, v any) any {
	if v == nil {
		if t.NonNull {
			c.fail("must be given")
		}
		return nil
	}
	if t.Elem != nil {
		return c.list(t.Elem, v)
	}
	def := c.schema.Types[t.NamedType]
	switch def.Kind {
	case ast.InputObject:
		return c.object(def, v)
	case ast.Enum:
		if name, ok := v.(string); !ok || def.EnumValues.ForName(name) == nil {
			c.want(def)
		}
	case ast.Scalar:
		return c.scalar(def, v)
	case ast.Object, ast.Interface, ast.Union:
		c.fail("must be of an input type") // validation has seen to that already
	}
	return v
}

// list accepts a single value as a list of one, as the specification says.
func (c *coercer) list(elem *ast.Type, v any) any {
	list, ok := v.([]any)
	if !ok {
		one := c.value(elem, v)
		return []any{one}
	}
	for i, item := range list {
		c.path = append(c.path, itoa(i))
		coerced := c.value(elem, item)
		if c.fault != nil {
			return nil
		}
		list[i] = coerced
		c.path = c.path[:len(c.path)-1]
	}
	return list
}

// object coerces in place: the map was made for this request.
func (c *coercer) object(def *ast.Definition, v any) any {
	fields, ok := v.(map[string]any)
	if !ok {
		c.want(def)
		return nil
	}
	known := 0
	for _, field := range def.Fields {
		value, given := fields[field.Name]
		if given {
			known++
		} else if field.DefaultValue != nil || !field.Type.NonNull {
			continue // the executor fills the default in
		}
		c.path = append(c.path, field.Name)
		coerced := c.value(field.Type, value)
		if c.fault != nil {
			return nil
		}
		if given {
			fields[field.Name] = coerced
		}
		c.path = c.path[:len(c.path)-1]
	}
	if known < len(fields) {
		c.unknown(def, fields)
	}
	return fields
}

func (c *coercer) unknown(def *ast.Definition, fields map[string]any) {
	first := ""
	for name := range fields { // the same one each time
		if def.Fields.ForName(name) == nil && (first == "" || name < first) {
			first = name
		}
	}
	c.path = append(c.path, shorten(first))
	c.fail("is not a field of " + def.Name)
}

func (c *coercer) scalar(def *ast.Definition, v any) any {
	switch def.Name {
	case "Int":
		return c.int(def, v)
	case "Float":
		if n, ok := v.(json.Number); ok {
			if f, err := n.Float64(); err == nil {
				return f
			}
		}
		c.want(def)
	case "String", "Decimal", "DateTime":
		if _, ok := v.(string); !ok {
			c.want(def)
		}
	case "Boolean":
		if _, ok := v.(bool); !ok {
			c.want(def)
		}
	case "ID":
		switch v := v.(type) {
		case string:
		case json.Number:
			if _, err := v.Int64(); err != nil {
				c.want(def)
			}
			return string(v)
		default:
			c.want(def)
		}
	}
	return v
}

func (c *coercer) int(def *ast.Definition, v any) any {
	n, ok := v.(json.Number)
	if !ok {
		c.want(def)
		return nil
	}
	i, err := strconv.ParseInt(string(n), 10, 64)
	if err != nil || i < math.MinInt32 || i > math.MaxInt32 {
		c.want(def)
		return nil
	}
	return i
}

func (c *coercer) want(def *ast.Definition) {
	c.fail("must be " + wantedOf(def))
}

func (c *coercer) fail(message string) {
	if c.fault == nil {
		c.fault = fault.InvalidField(message, append([]string(nil), c.path...)...)
	}
}

// wantedOf is what a value of a type must be, in words.
func wantedOf(def *ast.Definition) string {
	switch {
	case def.Name == "Int":
		return scalar.WantInt
	case def.Name == "Float":
		return "a number"
	case def.Name == "Decimal":
		return scalar.WantDecimal
	case def.Name == "String":
		return "a string"
	case def.Name == "ID":
		return "an id, a string"
	case def.Name == "Boolean":
		return "true or false"
	case def.Name == "DateTime":
		return "an RFC 3339 time"
	case def.Kind == ast.Enum:
		return "one of " + enumNames(def)
	case def.Kind == ast.InputObject:
		return "an object"
	}
	return "a " + def.Name
}

func enumNames(def *ast.Definition) string {
	names := ""
	for i, v := range def.EnumValues {
		if i > 0 {
			names += ", "
		}
		names += v.Name
	}
	return names
}
