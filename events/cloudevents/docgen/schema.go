package main

// JSON Schemas of the published messages, as package cloudevents writes them:
// every field is there, except those that can be absent.

import (
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"google.golang.org/protobuf/reflect/protoreflect"

	"stampede/events/cloudevents"
)

// object is a JSON object whose members keep their order.
type object = yaml.MapSlice

func member(key string, value any) yaml.MapItem { return yaml.MapItem{Key: key, Value: value} }

// schemaFile is the schema of one type and of the parts that it has.
func schemaFile(d protoreflect.MessageDescriptor) ([]byte, error) {
	out := object{
		member("$schema", "https://json-schema.org/draft/2020-12/schema"),
		member("$id", cloudevents.DataSchema(cloudevents.JSON, string(d.Name()))),
		member("title", string(d.Name())),
	}
	own, err := schema(d, "#/$defs/")
	if err != nil {
		return nil, err
	}
	out = append(out, own...)
	var defs object
	for _, part := range parts(d, nil) {
		s, err := schema(part, "#/$defs/")
		if err != nil {
			return nil, err
		}
		defs = append(defs, member(string(part.Name()), s))
	}
	if len(defs) > 0 {
		out = append(out, member("$defs", defs))
	}
	return indentedJSON(out)
}

// parts are the messages that d has in it, each once.
func parts(d protoreflect.MessageDescriptor, found []protoreflect.MessageDescriptor) []protoreflect.MessageDescriptor {
	for i := range d.Fields().Len() {
		m := d.Fields().Get(i).Message()
		if m == nil || slices.Contains(found, m) {
			continue
		}
		found = parts(m, append(found, m))
	}
	return found
}

// schema is a message's, without those of its parts, which are found under refs.
func schema(d protoreflect.MessageDescriptor, refs string) (object, error) {
	var out, properties object
	if text := comment(d); text != "" {
		out = append(out, member("description", text))
	}
	required := []any{}
	for i := range d.Fields().Len() {
		f := d.Fields().Get(i)
		s, err := fieldSchema(f, refs)
		if err != nil {
			return nil, err
		}
		properties = append(properties, member(f.JSONName(), s))
		if !f.HasPresence() || alwaysSet(f) {
			required = append(required, f.JSONName())
		}
	}
	return append(
		out, member("type", "object"), member("properties", properties), member("required", required), member("additionalProperties", false),
	), nil
}

func fieldSchema(f protoreflect.FieldDescriptor, refs string) (object, error) {
	var s object
	switch f.Kind() {
	case protoreflect.MessageKind:
		s = object{member("$ref", refs+string(f.Message().Name()))}
	case protoreflect.StringKind:
		s = append(object{member("type", "string")}, textRule(f)...)
	case protoreflect.BoolKind:
		s = object{member("type", "boolean")}
	case protoreflect.Int64Kind:
		s = append(object{member("type", "integer")}, numberRule(f)...)
	default:
		return nil, fmt.Errorf("%s: no JSON form for a %s", f.FullName(), f.Kind())
	}
	if f.IsList() {
		s = object{member("type", "array"), member("items", s)}
	}
	if text := comment(f); text != "" {
		s = append(s, member("description", text))
	}
	return s, nil
}

// comment is what the proto file says of it, less the lines that only part the
// file.
func comment(d protoreflect.Descriptor) string {
	var lines []string
	for line := range strings.Lines(d.ParentFile().SourceLocations().ByDescriptor(d).LeadingComments) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "----") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, " ")
}
