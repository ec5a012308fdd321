package operation

import (
	"math"
	"strconv"

	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/validator"
	"github.com/vektah/gqlparser/v2/validator/core"
	"github.com/vektah/gqlparser/v2/validator/rules"

	"stampede/gateway/scalar"
)

const numbersFit = "NumbersFit"

// validationRules are GraphQL's own and one more. Without suggestions nobody
// can guess their way to the schema, and nothing is compared by edit distance.
func validationRules(suggest bool) *rules.Rules {
	r := rules.NewDefaultRules()
	if !suggest {
		for _, quiet := range [...]struct {
			loud string
			rule core.Rule
		}{
			{rules.FieldsOnCorrectTypeRule.Name, rules.FieldsOnCorrectTypeRuleWithoutSuggestions},
			{rules.ScalarLeafsRule.Name, rules.ScalarLeafsRuleWithoutSuggestions},
			{rules.KnownArgumentNamesRule.Name, rules.KnownArgumentNamesRuleWithoutSuggestions},
			{rules.KnownTypeNamesRule.Name, rules.KnownTypeNamesRuleWithoutSuggestions},
			{rules.ValuesOfCorrectTypeRule.Name, rules.ValuesOfCorrectTypeRuleWithoutSuggestions},
		} {
			r.RemoveRule(quiet.loud)
			r.AddRule(quiet.rule.Name, quiet.rule.RuleFunc)
		}
	}
	r.AddRule(numbersFit, checkNumbers)
	return r
}

// checkNumbers refuses number literals that the executor would choke on: an Int
// beyond 32 bits, and in a custom scalar any number that Go cannot hold.
func checkNumbers(observers *validator.Events, addError validator.AddErrFunc) {
	observers.OnValue(func(_ *validator.Walker, v *ast.Value) {
		if v.Kind != ast.IntValue && v.Kind != ast.FloatValue {
			return
		}
		name := ""
		if v.Definition != nil {
			name = v.Definition.Name
		}
		n, err := v.Value(nil)
		switch name {
		case "Int":
			if i, ok := n.(int64); ok && err == nil && (i < math.MinInt32 || i > math.MaxInt32) {
				addError(validator.Message("must be %s", scalar.WantInt), core.At(v.Position))
			}
		case "Float", "ID": // the standard rule reports what does not fit
		case "Decimal":
			addError(validator.Message("must be %s", scalar.WantDecimal), core.At(v.Position))
		default:
			if err != nil {
				addError(validator.Message("%s is out of range", strconv.Quote(v.Raw)), core.At(v.Position))
			}
		}
	})
}
