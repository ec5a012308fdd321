package schema_test

import (
	"os"
	"slices"
	"testing"

	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/ast"

	"stampede/gateway/schema"
)

// left out of what the contract has: inputs that would silently do nothing.
var leftOut = map[string][]string{}

// reworded where a description speaks of what is left out.
var reworded = map[string]bool{}

// added to what the contract has, for a reason that docs/decisions has.
var added = map[string][]string{"Sale": {"shuffleCommitment", "shuffleSecret", "joinedBeforeOpening"}}

// Whatever is here is as in the contract: the same names, types, nullability,
// defaults, descriptions, directives. testdata/contract.graphql is the contract.
func TestSchemaKeepsTheContract(t *testing.T) {
	contract := parse(t, "testdata/contract.graphql")
	have, err := schema.Load()
	if err != nil {
		t.Fatal(err)
	}
	for name, def := range have.Types {
		if def.BuiltIn || name[0] == '_' {
			continue
		}
		promised := contract.Types[name]
		if promised == nil {
			t.Errorf("type %s is not in the contract", name)
			continue
		}
		sameType(t, def, promised)
	}
	for _, name := range []string{"auth", "cost"} {
		if got, want := have.Directives[name], contract.Directives[name]; got == nil || got.Description != want.Description || args(got.Arguments) != args(want.Arguments) || !slices.Equal(got.Locations, want.Locations) {
			t.Errorf("directive @%s is not as in the contract", name)
		}
	}
}

func sameType(t *testing.T, have, want *ast.Definition) {
	t.Helper()
	if have.Kind != want.Kind || !slices.Equal(have.Interfaces, want.Interfaces) {
		t.Errorf("%s is a %s of %v, in the contract a %s of %v", have.Name, have.Kind, have.Interfaces, want.Kind, want.Interfaces)
	}
	if have.Description != want.Description && !reworded[have.Name] {
		t.Errorf("%s says %q, in the contract %q", have.Name, have.Description, want.Description)
	}
	if len(have.EnumValues) != len(want.EnumValues) {
		t.Errorf("%s has %d values, in the contract %d", have.Name, len(have.EnumValues), len(want.EnumValues))
	}
	for i, v := range have.EnumValues {
		if want.EnumValues[i].Name != v.Name {
			t.Errorf("%s has value %s, in the contract %s", have.Name, v.Name, want.EnumValues[i].Name)
		}
	}
	for _, f := range have.Fields {
		if f.Name[0] == '_' {
			continue
		}
		if slices.Contains(added[have.Name], f.Name) {
			continue
		}
		if w := want.Fields.ForName(f.Name); w == nil || signature(f) != signature(w) {
			t.Errorf("%s.%s is %s, in the contract %s", have.Name, f.Name, signature(f), signature(w))
		}
	}
	if have.Kind == ast.InputObject || have.Name == "Query" || have.Name == "Mutation" || have.Name == "Subscription" {
		return
	}
	for _, f := range want.Fields {
		if have.Fields.ForName(f.Name) == nil {
			t.Errorf("%s.%s is missing: a query by the contract would fail", have.Name, f.Name)
		}
	}
}

// Inputs lack only what is listed here.
func TestInputsAreWhole(t *testing.T) {
	contract := parse(t, "testdata/contract.graphql")
	have, err := schema.Load()
	if err != nil {
		t.Fatal(err)
	}
	for name, def := range have.Types {
		if def.Kind != ast.InputObject {
			continue
		}
		for _, f := range contract.Types[name].Fields {
			if def.Fields.ForName(f.Name) == nil && !slices.Contains(leftOut[name], f.Name) {
				t.Errorf("input %s lacks %s", name, f.Name)
			}
		}
	}
}

func signature(f *ast.FieldDefinition) string {
	if f == nil {
		return "absent"
	}
	s := f.Name + "(" + args(f.Arguments) + "): " + f.Type.String() + " " + value(f.DefaultValue) + " " + f.Description
	for _, d := range f.Directives {
		s += " @" + d.Name
		for _, a := range d.Arguments {
			s += " " + a.Name + ":" + a.Value.String()
		}
	}
	return s
}

func args(list ast.ArgumentDefinitionList) string {
	s := ""
	for _, a := range list {
		s += a.Name + ": " + a.Type.String() + " = " + value(a.DefaultValue) + ", "
	}
	return s
}

func value(v *ast.Value) string {
	if v == nil {
		return ""
	}
	return v.String()
}

func parse(t *testing.T, file string) *ast.Schema {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s, parseErr := gqlparser.LoadSchema(&ast.Source{Name: file, Input: string(text)})
	if parseErr != nil {
		t.Fatal(parseErr)
	}
	return s
}
