package e2e

// The SKU as Porcupine sees it: a number of available units, and nothing of
// versions, orders or records.

import (
	"fmt"
	"math"
	"time"

	"github.com/anishathalye/porcupine"
)

// model is the sequential SKU with so many units at the start. Its state is
// how many are available.
func model(initial int) porcupine.Model {
	m := porcupine.NondeterministicModel{
		Init: func() []any { return []any{initial} },
		Step: func(state, input, output any) []any {
			return step(state.(int), initial, input.(operation), output.(operation))
		},
		DescribeOperation: func(_, output any) string { return output.(operation).String() },
		DescribeState:     func(state any) string { return fmt.Sprint(state) },
	}
	return m.ToModel()
}

// step is what can be available after the operation came out as it did, when so
// many were before. None: it cannot come out like that.
func step(available, initial int, in, out operation) []any {
	var after int
	switch in.action {
	case look:
		if out.available != available || out.held != initial-available {
			return nil
		}
		return []any{available}
	case reserve:
		after = available - in.units
	case cancel:
		after = available + in.units
	}
	possible := after >= 0 && after <= initial
	switch out.outcome {
	case refused:
		if in.action != reserve || possible || out.available != available {
			return nil
		}
		return []any{available}
	case unknown: // it may also never be done
		if possible {
			return []any{available, after}
		}
		return []any{available}
	default:
		if !possible {
			return nil
		}
		return []any{after}
	}
}

// linearizable asks Porcupine. An operation whose outcome is unknown may take
// effect at any time after its call.
func linearizable(history []operation, initial int, within time.Duration) porcupine.CheckResult {
	operations := make([]porcupine.Operation, len(history))
	for i, o := range history {
		back := o.back
		if o.outcome == unknown {
			back = math.MaxInt64
		}
		operations[i] = porcupine.Operation{ClientId: o.client, Input: o, Output: o, Call: o.call, Return: back}
	}
	return porcupine.CheckOperationsTimeout(model(initial), operations, within)
}
