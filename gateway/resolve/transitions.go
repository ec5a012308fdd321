package resolve

import (
	"stampede/gateway/graph"
	"stampede/proto/gen/orderpb"
)

// transitionsOf are the states that can come directly after a state.
func transitionsOf(s orderpb.Status) []graph.OrderState {
	switch s {
	case orderpb.Status_STATUS_UNSPECIFIED, orderpb.Status_STATUS_RESERVING:
		return []graph.OrderState{graph.OrderStateReserved, graph.OrderStateRejected}
	case orderpb.Status_STATUS_RESERVED:
		return []graph.OrderState{graph.OrderStatePaying, graph.OrderStateCancelled, graph.OrderStateExpired}
	case orderpb.Status_STATUS_PAYING:
		return []graph.OrderState{graph.OrderStateConfirmed, graph.OrderStateReserved, graph.OrderStateCancelled, graph.OrderStateExpired}
	case orderpb.Status_STATUS_CONFIRMED, orderpb.Status_STATUS_PARTIALLY_FULFILLED, orderpb.Status_STATUS_FULFILLED,
		orderpb.Status_STATUS_CANCELLED, orderpb.Status_STATUS_REJECTED, orderpb.Status_STATUS_EXPIRED:
	}
	return []graph.OrderState{}
}
