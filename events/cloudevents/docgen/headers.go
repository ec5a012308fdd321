package main

import "stampede/events/inbound"

const traceparentPattern = "^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$"

func text(rule ...any) object {
	out := object{member("type", "string")}
	for i := 0; i+1 < len(rule); i += 2 {
		out = append(out, member(rule[i].(string), rule[i+1])) //nolint:forcetypeassert // the names below
	}
	return out
}

// eventHeaders are those of every published event.
func eventHeaders() object {
	return object{
		member("type", "object"),
		member("properties", object{
			member("content-type", text("enum", []any{"application/json", "application/protobuf"}, "description", "By --events-format: the same for all events of a shop.")),
			member("ce_specversion", text("const", "1.0")),
			member("ce_id", text("description", "Stream and version; the same on every repeat: deduplicate on it.", "pattern", "^[a-z]+/.+/[1-9][0-9]*$")),
			member("ce_source", text("description", "One a topic.")),
			member("ce_type", text()),
			member("ce_subject", text("description", "The key.")),
			member("ce_time", text("format", "date-time", "description", "When it was decided.")),
			member("ce_dataschema", text("format", "uri", "description", "The $id of the JSON Schema, or the protobuf message.")),
			member("ce_sequence", text("pattern", "^[0-9]{20}$", "description", "The aggregate's version: first occurrences of a key come without a gap, but for accounts and stock levels.")),
			member("ce_partitionkey", text("description", "The key.")),
			member("traceparent", text("pattern", traceparentPattern, "description", "W3C trace context of the request that caused it, where one did.")),
			member("ce_dataomitted", text("const", "too-large", "description", "Only where the broker would not take the event for its size: its value is empty.")),
		}),
		member("required", []any{
			"content-type", "ce_specversion", "ce_id", "ce_source", "ce_type", "ce_subject", "ce_time", "ce_dataschema", "ce_sequence", "ce_partitionkey",
		}),
	}
}

func commandHeaders() object {
	attribute := func(about string) object { return text("minLength", 1, "maxLength", 255, "description", about) }
	return object{
		member("type", "object"),
		member("properties", object{
			member("content-type", text("description", "If there, application/json.")),
			member("ce_specversion", text("const", "1.0")),
			member("ce_id", attribute("With ce_source the idempotency key.")),
			member("ce_source", attribute("Who sends.")),
			member("ce_type", text()),
			member("traceparent", text("pattern", traceparentPattern, "description", "Handed on to the events.")),
		}),
		member("required", []any{"ce_specversion", "ce_id", "ce_source", "ce_type"}),
	}
}

func deadLetterHeaders() object {
	return object{
		member("type", "object"),
		member("description", "Those of the command, and why it is here."),
		member("properties", object{
			member(inbound.HeaderReason, text("description", "The API's error code, MALFORMED, or INTERNAL when the shop's log says why.")),
			member(inbound.HeaderMessage, text()),
			member(inbound.HeaderField, text("description", "What it was about, if it was about one field.")),
			member(inbound.HeaderPartition, text("pattern", "^[0-9]+$")),
			member(inbound.HeaderOffset, text("pattern", "^[0-9]+$")),
			member(inbound.HeaderOmitted, text("const", "too-large", "description", "The value was left out for its size.")),
		}),
		member("required", []any{inbound.HeaderReason, inbound.HeaderMessage, inbound.HeaderPartition, inbound.HeaderOffset}),
	}
}
