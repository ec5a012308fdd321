package cloudevents

//go:generate go run ./docgen ../..

// Types lists what is published on a topic, by ce_type: messages of
// proto/stampede/events/v1. What docs/events describes is made from it, and a
// test holds the mapping to it.
func Types(topic string) []string {
	switch topic {
	case TopicOrders:
		return []string{
			"OrderPlaced", "OrderReserved", "OrderRejected", "PaymentRequested", "PaymentActionRequired", "PaymentUnanswered", "PaymentAuthorized", "PaymentDeclined",
			"OrderConfirmed", "PaymentCaptured", "PaymentVoided", "OrderFulfilled", "OrderCancelled", "OrderExpired", "OrderHoldsReleased",
			"RefundRequested", "OrderRefunded", "RefundRefused", "OrderUnitsMoved", "OrderReturnSettled",
		}
	case TopicStock:
		return []string{
			"SkuConfigured", "StockAdjusted", "StockReserved", "ReservationReleased", "ReservationExpired", "ReservationConfirmed",
			"ReservationFulfilled", "ReservationReturned", "ReservationReturnSettled", "StockShortfall", "StockDepleted", "StockReplenished",
			"SkuSaleConfigured", "SkuSaleClosed", "SkuSaleReported",
		}
	case TopicStockLevels:
		return []string{"StockLevel"}
	case TopicProducts:
		return []string{"ProductCreated", "ProductUpdated", "ProductSkusConfigured"}
	case TopicSales:
		return []string{
			"SaleDrafted", "SaleScheduled", "SaleRejected", "SaleOpened", "SalePaused", "SaleResumed", "SaleRescheduled", "SaleAdmissionChanged",
			"SaleSoldOut", "SaleRestocked", "SaleItemReported", "SaleSkusConfigured", "SaleJoined", "SaleEnded",
		}
	case TopicAccounts:
		return []string{"UserRegistered", "ProfileUpdated", "RolesChanged"}
	}
	return nil
}
