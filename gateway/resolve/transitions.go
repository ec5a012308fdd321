package resolve

import (
	"stampede/actors/order"
	"stampede/gateway/graph"
	"stampede/proto/gen/orderpb"
)

// transitionsOf are the states that can come directly after a state.
func transitionsOf(s orderpb.Status) []graph.OrderState {
	next := order.AllowedTransitions(s)
	out := make([]graph.OrderState, len(next))
	for i, to := range next {
		out[i] = stateOf(to)
	}
	return out
}
