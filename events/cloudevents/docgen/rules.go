package main

// What the shop's own bounds say of fields beyond their types, by the names
// that mean the same in every message.

import "google.golang.org/protobuf/reflect/protoreflect"

// maxExact is the largest integer that every JSON reader reads exactly.
const maxExact = 1<<53 - 1

// alwaysSet: messages that are never left out where the field is.
func alwaysSet(f protoreflect.FieldDescriptor) bool {
	switch f.Name() {
	case "level", "amount", "sale_price":
		return true
	case "total":
		return f.Parent().Name() == "OrderReserved"
	}
	return false
}

const (
	skuPattern      = "^[A-Za-z0-9_-]{1,64}$"
	codePattern     = "^[A-Z][A-Z_]*$"
	sha256Pattern   = "^[0-9a-f]{64}$"
	hexPattern      = "^([0-9a-f]{2})+$"
	currencyPattern = "^[A-Z]{3}$"
)

// idPattern is that of the ids with a prefix: 16 bytes in lower-case base32.
func idPattern(prefix string) string { return "^" + prefix + "_[a-z2-7]{26}$" }

// keyPattern is that of a topic's keys.
func keyPattern(kind string) string {
	if kind == "sku" {
		return skuPattern
	}
	return idPattern(kind)
}

func textRule(f protoreflect.FieldDescriptor) object {
	pattern := ""
	switch f.Name() {
	case "sku":
		pattern = skuPattern
	case "order_id":
		pattern = idPattern("ord")
	case "product_id":
		pattern = idPattern("prd")
	case "user_id", "customer_id":
		pattern = idPattern("usr")
	case "sale_id":
		pattern = idPattern("sal")
	case "currency":
		pattern = currencyPattern
	case "code":
		pattern = codePattern
	case "shuffle_commitment":
		pattern = sha256Pattern
	case "shuffle_secret":
		pattern = hexPattern
	case "roles":
		return object{member("enum", []any{"CUSTOMER", "STAFF", "OPERATOR"})}
	case "admission":
		return object{member("enum", []any{"OPEN_TO_ALL", "FIRST_COME", "SHUFFLED_AT_OPENING"})}
	}
	if pattern == "" {
		return nil
	}
	return object{member("pattern", pattern)}
}

// numberRule: all numbers are exact in JSON, and only a delta is below 0.
func numberRule(f protoreflect.FieldDescriptor) object {
	least := 0
	switch f.Name() {
	case "delta":
		least = -maxExact
	case "version", "sku_version", "product_version", "config_version", "attempt":
		least = 1
	}
	return object{member("minimum", least), member("maximum", maxExact)}
}
