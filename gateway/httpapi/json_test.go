package httpapi

import (
	"bytes"
	"encoding/json"
	"io"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

var jsonSeeds = []string{
	`{}`, `[]`, `null`, `true`, `false`, `0`, `-0`, `1.5e-7`, `1E400`, `""`, `"a\"b\\c\/\b\f\n\r\t"`, `"\u00e9\ud83d\ude00"`, `"é😀"`,
	`{"a":{"b":[1,"x",null,{"c":[]}]}}`, ` { "a" : 1 , "a" : 2 } `, "\t\r\n[ 1 ,\n2 ]",
	``, ` `, `{`, `[`, `"`, `{"a"`, `{"a":`, `{"a":1`, `{"a":1,`, `{"a":1,}`, `[1,]`, `[1 2]`, `{a:1}`, `'a'`, `01`, `1.`, `.1`, `+1`, `-`, `1e`, `1e+`, `tru`, `nul`,
	`"\x"`, `"\u12"`, `"\u12G4"`, "\"a\x00b\"", "\"a\nb\"", "\x00", "{}\x00", `{} {}`, `NaN`, `Infinity`, `"\ud800"`, `"\ud800\ud800"`, `"\udc00"`, "\"\xff\"", "\"\\n\xff\"", "\ufeff{}",
}

func TestJSON(t *testing.T) {
	for _, text := range jsonSeeds {
		compareJSON(t, []byte(text))
	}
	deep := func(n int) []byte { return []byte(strings.Repeat("[", n) + strings.Repeat("]", n)) }
	if _, err := readJSON(deep(maxJSONDepth)); err != nil {
		t.Errorf("%d levels: %v", maxJSONDepth, err)
	}
	if _, err := readJSON(deep(maxJSONDepth + 1)); err == nil {
		t.Errorf("%d levels are read", maxJSONDepth+1)
	}
}

func FuzzJSON(f *testing.F) {
	for _, text := range jsonSeeds {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) { compareJSON(t, text) })
}

// compareJSON holds the reader against encoding/json.
func compareJSON(t *testing.T, text []byte) {
	t.Helper()
	got, err := readJSON(text)
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	var want any
	wantErr := dec.Decode(&want)
	if wantErr == nil {
		if _, more := dec.Token(); more != io.EOF {
			wantErr = more
			if wantErr == nil {
				wantErr = errJSON
			}
		}
	}
	switch {
	case err == nil && wantErr != nil:
		t.Errorf("%q is read as %#v, and is no JSON: %v", text, got, wantErr)
	case err == nil && !reflect.DeepEqual(got, want):
		t.Errorf("%q is read as %#v, want %#v", text, got, want)
	case err != nil && wantErr == nil && !stricter(text):
		t.Errorf("%q is refused: %v", text, err)
	}
}

// stricter reports what the reader refuses on purpose.
func stricter(text []byte) bool {
	lower := bytes.ToLower(text)
	return !utf8.Valid(text) || bytes.Contains(lower, []byte(`\ud`)) || bytes.Count(text, []byte("["))+bytes.Count(text, []byte("{")) > maxJSONDepth
}
