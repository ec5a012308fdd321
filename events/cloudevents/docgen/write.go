package main

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// indentedJSON writes a value with objects in the order of their members.
func indentedJSON(v any) ([]byte, error) {
	var flat, out bytes.Buffer
	if err := writeJSON(&flat, v); err != nil {
		return nil, err
	}
	if err := json.Indent(&out, flat.Bytes(), "", "  "); err != nil {
		return nil, err
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}

func writeJSON(b *bytes.Buffer, v any) error {
	switch v := v.(type) {
	case object:
		b.WriteByte('{')
		for i, m := range v {
			if i > 0 {
				b.WriteByte(',')
			}
			if err := writeJSON(b, m.Key); err != nil {
				return err
			}
			b.WriteByte(':')
			if err := writeJSON(b, m.Value); err != nil {
				return err
			}
		}
		b.WriteByte('}')
	case []any:
		b.WriteByte('[')
		for i, e := range v {
			if i > 0 {
				b.WriteByte(',')
			}
			if err := writeJSON(b, e); err != nil {
				return err
			}
		}
		b.WriteByte(']')
	case string, bool, int:
		e := json.NewEncoder(b)
		e.SetEscapeHTML(false)
		return e.Encode(v)
	default:
		return fmt.Errorf("no JSON is written of a %T", v)
	}
	return nil
}
