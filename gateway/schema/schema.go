// Package schema is the API's schema, one file a subject. It is what clients
// read, and the input of gqlgen.
package schema

import (
	"embed"
	"fmt"
	"io/fs"

	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/ast"
)

//go:embed *.graphql
var files embed.FS

// Load parses the schema. Each caller gets one of its own.
func Load() (*ast.Schema, error) {
	names, err := fs.Glob(files, "*.graphql")
	if err != nil {
		return nil, fmt.Errorf("list the schema's files: %w", err)
	}
	sources := make([]*ast.Source, 0, len(names))
	for _, name := range names {
		text, err := files.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("read schema %s: %w", name, err)
		}
		sources = append(sources, &ast.Source{Name: name, Input: string(text)})
	}
	s, err := gqlparser.LoadSchema(sources...)
	if err != nil {
		return nil, fmt.Errorf("parse schema: %w", err)
	}
	// The parser's own directive for answers in parts: every answer here is whole.
	delete(s.Directives, "defer")
	return s, nil
}
