package sku

import (
	"strconv"
	"unicode"
	"unicode/utf8"

	"stampede/proto/gen/commonpb"
)

func refuse(reason commonpb.Reason, message string, field ...string) *commonpb.Refusal {
	return &commonpb.Refusal{Reason: reason, Message: message, Field: field}
}

func decimal(n int64) string { return strconv.FormatInt(n, 10) }

func (d *draft) notConfigured() *commonpb.Refusal {
	r := refuse(commonpb.Reason_REASON_NOT_FOUND, "no product has the SKU "+d.s.id, "sku")
	r.Sku = d.s.id
	return r
}

func (d *draft) notActive() *commonpb.Refusal {
	r := refuse(commonpb.Reason_REASON_NOT_FOUND, "the SKU "+d.s.id+" is not on sale", "sku")
	r.Sku = d.s.id
	return r
}

func (d *draft) insufficient(reason commonpb.Reason, requested, available int64, field string) *commonpb.Refusal {
	r := refuse(reason, decimal(available)+" units of "+d.s.id+" are available, "+decimal(requested)+" were asked for", field)
	r.Sku, r.Requested, r.Available = d.s.id, requested, available
	return r
}

// checkOrder is what all commands of an order have in common.
func checkOrder(orderID string, quantity int64) *commonpb.Refusal {
	switch {
	case orderID == "" || len(orderID) > maxIDBytes || !printable(orderID):
		return refuse(commonpb.Reason_REASON_INVALID, "an order's id has 1 to "+decimal(maxIDBytes)+" printable bytes", "orderId")
	case quantity < 1 || quantity > MaxQuantity:
		return refuse(commonpb.Reason_REASON_INVALID, "quantity is between 1 and "+decimal(MaxQuantity), "quantity")
	}
	return nil
}

func checkKey(key string) *commonpb.Refusal {
	if key == "" || len(key) > maxKeyBytes || !printable(key) {
		return refuse(commonpb.Reason_REASON_INVALID, "an idempotency key has 1 to "+decimal(maxKeyBytes)+" bytes without control characters", "idempotencyKey")
	}
	return nil
}

// printable reports valid UTF-8 without control characters. It is on the way of
// every hold, so plain ASCII is decided without the tables.
func printable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] == 0x7f {
			return false
		}
		if s[i] >= utf8.RuneSelf {
			return utf8.ValidString(s) && noControl(s)
		}
	}
	return true
}

func noControl(s string) bool {
	for _, r := range s {
		if unicode.IsControl(r) {
			return false
		}
	}
	return true
}

// validSKU reports [A-Za-z0-9_-]{1,64}.
func validSKU(id string) bool {
	for i := range len(id) {
		c := id[i]
		if c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return id != "" && len(id) <= maxIDBytes
}
