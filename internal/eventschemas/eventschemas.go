// Package eventschemas holds events to the JSON Schemas of docs/events, as a
// consumer does who validates what comes: it finds the schema by ce_dataschema.
package eventschemas

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Schemas are the schemas by their $id.
type Schemas map[string]*jsonschema.Schema

// ErrUnknown: there is no such schema.
var ErrUnknown = errors.New("no schema in docs/events/schemas has this $id")

// Load compiles all schemas of a repository.
func Load(t testing.TB, repository string) Schemas {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(repository, "docs", "events", "schemas", "*.schema.json"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("docs/events/schemas: %d files, %v", len(paths), err)
	}
	out := Schemas{}
	for _, path := range paths {
		id, schema, err := compile(path)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if want := "urn:stampede:events:v1:" + strings.TrimSuffix(filepath.Base(path), ".schema.json"); id != want {
			t.Errorf("%s has the $id %s, want %s", path, id, want)
		}
		out[id] = schema
	}
	return out
}

func compile(path string) (id string, schema *jsonschema.Schema, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", nil, err
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return "", nil, err
	}
	members, _ := document.(map[string]any)
	id, ok := members["$id"].(string)
	if !ok || members["$schema"] != "https://json-schema.org/draft/2020-12/schema" {
		return "", nil, fmt.Errorf("$id %v, $schema %v", members["$id"], members["$schema"])
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	if err := compiler.AddResource(id, document); err != nil {
		return "", nil, err
	}
	schema, err = compiler.Compile(id)
	return id, schema, err
}

// Validate holds an event's data to its schema.
func (s Schemas) Validate(dataSchema string, data []byte) error {
	schema := s[dataSchema]
	if schema == nil {
		return fmt.Errorf("%q: %w", dataSchema, ErrUnknown)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		return err
	}
	return schema.Validate(value)
}
