package gateway_test

// That the table of what the keys promise has every mutation with a key, and
// every field of its input.

import (
	"slices"
	"strings"
	"testing"

	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/ast"

	"stampede/gateway/schema"
)

func TestKeyedKnowsEveryKeyAndField(t *testing.T) {
	s, err := schema.Load()
	if err != nil {
		t.Fatal(err)
	}
	for _, missing := range withoutKeyedRow(s) {
		t.Errorf("%s has no place in the table of what the keys promise", missing)
	}
}

// A mutation with a key that comes without a row is found, and a field that
// comes to one that has its row, however deep.
func TestKeyedFindsWhatIsNew(t *testing.T) {
	for _, c := range []struct{ more, want string }{
		{`input GiftInput { idempotencyKey: String! to: ID! } extend type Mutation { giveAway(input: GiftInput!): OrderPayload! @auth(role: CUSTOMER) }`, "giveAway"},
		{`extend input AdjustStockInput { place: String }`, "adjustStock place"},
		{`extend input SaleItemInput { perCustomer: Int }`, "createSale items.0.perCustomer"},
		{`extend type Mutation { logOutAll: OrderPayload! @auth(role: CUSTOMER) }`, ""},
	} {
		s, err := schema.Load()
		if err != nil {
			t.Fatal(err)
		}
		s, err = gqlparser.LoadSchema(&ast.Source{Name: "now", Input: formatted(s)}, &ast.Source{Name: "new", Input: c.more})
		if err != nil {
			t.Fatalf("%s: %v", c.more, err)
		}
		if found := strings.Join(withoutKeyedRow(s), ", "); found != c.want {
			t.Errorf("%s: found %q, want %q", c.more, found, c.want)
		}
	}
}

// withoutKeyedRow are the mutations with a key, and their fields, that the table lacks.
func withoutKeyedRow(s *ast.Schema) []string {
	var missing []string
	for _, f := range s.Mutation.Fields {
		input := f.Arguments.ForName("input")
		if input == nil || s.Types[input.Type.Name()].Fields.ForName("idempotencyKey") == nil {
			continue
		}
		i := slices.IndexFunc(keyed, func(c keyedMutation) bool { return c.field == f.Name })
		if i < 0 {
			missing = append(missing, f.Name)
			continue
		}
		for _, path := range fieldsOf(s, input.Type.Name(), "") {
			if c := keyed[i]; path != "idempotencyKey" && c.other[path]+c.free[path]+c.elsewhere[path] == "" {
				missing = append(missing, f.Name+" "+path)
			}
		}
	}
	return missing
}

// fieldsOf are the paths of an input's fields, into the first of a list and
// into each input within, except those that only hold another.
func fieldsOf(s *ast.Schema, typeName, under string) []string {
	var paths []string
	for _, f := range s.Types[typeName].Fields {
		path := under + f.Name
		within := path + "."
		if f.Type.Elem != nil {
			within += "0."
		}
		nested := s.Types[f.Type.Name()].Kind == ast.InputObject
		if !nested || f.Type.Elem != nil || !f.Type.NonNull {
			paths = append(paths, path)
		}
		if nested {
			paths = append(paths, fieldsOf(s, f.Type.Name(), within)...)
		}
	}
	return paths
}
