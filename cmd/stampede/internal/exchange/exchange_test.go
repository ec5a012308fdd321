package exchange

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

const mug = `{"slug":"mug","name":"Mug","variants":[{"sku":"MUG","price":{"amount":"19.90","currency":"EUR"},"stock":5}]}`

// Each wrong line says which it is and what would be right.
func TestWrongLines(t *testing.T) {
	for name, c := range map[string]struct{ line, want string }{
		"no JSON":            {`{"slug":`, `line 2: is not whole: a product is one line of JSON`},
		"broken JSON":        {`{"slug":"a",}`, `line 2: is not JSON at byte 13: invalid character '}' looking for beginning of object key string`},
		"a list":             {`[]`, `line 2: must be a JSON object such as {"slug": …}, not a array`},
		"two values":         {`{"slug":"a"} {}`, `line 2: product "a": there is more than one value: one product a line`},
		"unknown field":      {`{"slug":"a","nam":"A"}`, `line 2: product "a": there is no field "nam": there are slug, name, description, imageUrl, published, variants, and in each variant sku, name, price, attributes, stock`},
		"wrong type":         {`{"slug":"a","name":7}`, `line 2: product "a": name must be a text, not a number`},
		"stock as text":      {`{"slug":"a","variants":[{"sku":"A","stock":"7"}]}`, `line 2: product "a": variants.stock must be a whole number, not a string`},
		"half a unit":        {`{"slug":"a","variants":[{"sku":"A","stock":0.5}]}`, `line 2: product "a": variants.stock must be a whole number, not a number 0.5`},
		"no slug":            {`{"name":"A"}`, `line 2: slug must be lower-case letters, digits and single hyphens between them, 1 to 100`},
		"slug in capitals":   {`{"slug":"A"}`, `line 2: product "A": slug must be lower-case letters, digits and single hyphens between them, 1 to 100`},
		"empty name":         {`{"slug":"a","name":" "}`, `line 2: product "a": name must be 1 to 200 characters, not all spaces, without control characters`},
		"picture":            {`{"slug":"a","imageUrl":"javascript:x"}`, `line 2: product "a": imageUrl must be empty, an http or https URL, or a path that begins with /, at most 2048 bytes`},
		"SKU":                {`{"slug":"a","variants":[{"sku":"a b"}]}`, `line 2: product "a": variants.0.sku must be 1 to 64 letters, digits, hyphens and underscores`},
		"SKU twice":          {`{"slug":"a","variants":[{"sku":"A"},{"sku":"A"}]}`, `line 2: product "a": variants.1.sku must be different from the other variants' SKUs`},
		"currency":           {`{"slug":"a","variants":[{"sku":"A","price":{"amount":"1","currency":"eur"}}]}`, `line 2: product "a": variants.0.price.currency must be an ISO 4217 code in capitals, such as "EUR"`},
		"amount":             {`{"slug":"a","variants":[{"sku":"A","price":{"amount":"1.999","currency":"EUR"}}]}`, `line 2: product "a": variants.0.price.amount must have at most 2 decimals in this currency`},
		"attributes":         {`{"slug":"a","variants":[{"sku":"A","attributes":[1]}]}`, `line 2: product "a": variants.0.attributes must be a JSON object of at most 4096 bytes`},
		"negative stock":     {`{"slug":"a","variants":[{"sku":"A","stock":-1}]}`, `line 2: product "a": variants.0.stock must be 0 to 1000000000`},
		"51 variants":        {`{"slug":"a","variants":[` + strings.Repeat(`{"sku":"A"},`, 50) + `{"sku":"A"}]}`, `line 2: product "a": variants must be 1 to 50`},
		"a slug again":       {mug, `line 2: product "mug": the slug is in line 1 already: a product is in a file once, its variants together`},
		"another's SKU":      {`{"slug":"a","variants":[{"sku":"MUG"}]}`, `line 2: product "a": variants.0.sku "MUG" is in line 1 already: a SKU belongs to one product`},
		"empty line is fine": {``, ``},
		"part is fine":       {`{"slug":"a","published":false}`, ``},
	} {
		t.Run(name, func(t *testing.T) {
			_, wrong, err := Read(strings.NewReader(mug+"\r\n"+c.line), JSONLines)
			got := ""
			if len(wrong) > 0 {
				got = wrong[0].Error()
			}
			if err != nil || got != c.want || len(wrong) > 1 {
				t.Errorf("%v, %v\nwant %s", wrong, err, c.want)
			}
		})
	}
}

func TestWrongRows(t *testing.T) {
	const header = "slug,name,sku,price,currency,stock,attributes,published\n"
	for name, c := range map[string]struct{ text, want, fatal string }{
		"good":                  {header + "a,A,S1,1,EUR,1,,\na,,S2,2,EUR,,\"{\"\"a\"\":1}\",", "", ""},
		"line breaks in a cell": {"slug,description,sku,price,currency\na,\"one\ntwo\",S1,1,EUR\nb,,S2,x,EUR", `line 4: product "b": variants.0.price.amount must be a decimal string such as "19.90": digits and one point, no sign, exponent or separator`, ""},
		"wrong variant":         {header + "a,A,S1,1,EUR,1,,\na,,S2,2,EUR,many,,", `line 3: product "a": stock must be a whole number, not "many"`, ""},
		"wrong price below":     {header + "a,A,S1,1,EUR,1,,\n\na,,S2,-2,EUR,1,,", `line 4: product "a": variants.1.price.amount must not be negative`, ""},
		"another name":          {header + "a,A,S1,1,EUR,1,,\na,B,S2,2,EUR,1,,", `line 3: product "a": name is "A" in line 2: leave it empty here, or the same`, ""},
		"apart":                 {header + "a,A,S1,1,EUR,1,,\nb,B,S2,2,EUR,1,,\na,,S3,2,EUR,1,,", `line 4: product "a": the slug is in line 2 already: a product is in a file once, its variants together`, ""},
		"published":             {header + "a,A,S1,1,EUR,1,,yes", `line 2: product "a": published must be true or false, not "yes"`, ""},
		"attributes":            {header + "a,A,S1,1,EUR,1,blue,", `line 2: product "a": attributes must be a JSON object such as {"colour":"blue"}, or empty: invalid character 'b' looking for beginning of value`, ""},
		"nothing":               {"", "", `line 1: the first row must name the columns: ` + strings.Join(columns(), ",")},
		"unknown column":        {"slug,colour", "", `line 1: there is no column "colour": there are ` + strings.Join(columns(), ",")},
		"column twice":          {"slug,name,slug", "", `line 1: the column slug is there twice`},
		"no slug":               {"name,sku", "", `line 1: a column slug is needed: it is what products are known by`},
		"cells":                 {"slug,name\na,b,c", "", `line 2: has 3 cells, the first row names 2 columns`},
		"open quote":            {"slug,name\na,\"b", "", `line 2: a quote is not closed`},
		"quote within":          {"slug,name\na,b\"c", "", `line 2: a cell with a quote in it must be in quotes, the inner ones doubled`},
		"text after a quote":    {"slug,name\na,\"b\"c", "", `line 2: a cell with a quote in it must be in quotes, the inner ones doubled`},
		"part of a catalogue":   {"\ufeffslug,published\na,false\nb,true\n", "", ""},
		"part of it twice":      {"slug,published\na,false\na,false\n", `line 2: product "a": is in line 3 again: without a column sku a product has one row`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, wrong, err := Read(strings.NewReader(c.text), CSV)
			got, fatal := "", ""
			if len(wrong) > 0 {
				got = wrong[0].Error()
			}
			if err != nil {
				fatal = err.Error()
			}
			if got != c.want || fatal != c.fatal || len(wrong) > 1 {
				t.Errorf("%v, %v\nwant %s%s", wrong, err, c.want, c.fatal)
			}
		})
	}
}

// A file that is all wrong is given up early.
func TestManyWrongLines(t *testing.T) {
	_, wrong, err := Read(strings.NewReader(strings.Repeat("{}\n", maxListed+5)), JSONLines)
	if len(wrong) != maxListed || !errors.Is(err, ErrTooMany) {
		t.Errorf("%d wrong, %v", len(wrong), err)
	}
	_, _, err = Read(strings.NewReader("{}\n"+strings.Repeat(" ", MaxLineBytes+1)), JSONLines)
	if err == nil || !strings.HasPrefix(err.Error(), "line 2: a line has at most") {
		t.Errorf("an endless line: %v", err)
	}
}

// What is written reads back the same, in both formats.
func TestRoundTrip(t *testing.T) {
	texts := rapid.OneOf(rapid.Just("a\r\nb\rc\nd"), rapid.Just(`he said "so", twice`), rapid.Just("  spaces  "), rapid.Just("<ü&日本語>"), rapid.Just("x"))
	rapid.Check(t, func(rt *rapid.T) {
		var records []*Record
		for i := range rapid.IntRange(0, 5).Draw(rt, "products") {
			name, published, description := "n", rapid.Bool().Draw(rt, "published"), texts.Draw(rt, "description")
			r := &Record{Slug: "p-" + string(rune('a'+i)), Name: &name, Published: &published, Description: &description}
			for j := range rapid.IntRange(1, 4).Draw(rt, "variants") {
				stock, variant := int64(rapid.IntRange(0, 9).Draw(rt, "stock")), "v"
				attributes, err := canonical(json.RawMessage(rapid.SampledFrom([]string{``, `{"a":1.50,"b":"<>"}`, `{"z":{"y":[1,"x"]}}`}).Draw(rt, "attributes")))
				if err != nil {
					rt.Fatal(err)
				}
				r.Variants = append(r.Variants, Variant{SKU: r.Slug + string(rune('0'+j)), Name: &variant, Price: &Price{"1.00", "EUR"}, Attributes: attributes, Stock: &stock})
			}
			records = append(records, r)
		}
		for _, format := range []string{JSONLines, CSV} {
			var file bytes.Buffer
			if err := Write(&file, format, slices.Clone(records)); err != nil {
				rt.Fatal(err)
			}
			read, wrong, err := Read(bytes.NewReader(file.Bytes()), format)
			if err != nil || wrong != nil {
				rt.Fatalf("%s: %v, %v\n%s", format, wrong, err, file.String())
			}
			if format == CSV { // it has no way to leave a picture out
				for _, r := range read {
					r.ImageURL = nil
				}
			}
			if diff := cmp.Diff(records, read, cmpopts.IgnoreFields(Record{}, "Line"), cmpopts.IgnoreUnexported(Record{}), cmpopts.EquateEmpty()); diff != "" {
				rt.Fatalf("%s: %s", format, diff)
			}
		}
	})
}

// Rows are read as encoding/csv reads them, but for carriage returns.
func FuzzRows(f *testing.F) {
	for _, text := range []string{"a,b\nc,\"d\"\"e\nf\"\n", "\"\",\n", "a\r\nb", `"a"b`, `a"b`, ",,\n,", "\"", "\n\na\n"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, "\r") {
			return
		}
		theirs := csv.NewReader(strings.NewReader(text))
		theirs.FieldsPerRecord = -1
		want, wantErr := theirs.ReadAll()
		var got [][]string
		var gotErr error
		for r := (&rowReader{in: newReader(text), line: 1}); gotErr == nil; {
			var cells []string
			if cells, _, gotErr = r.row(); gotErr == nil && !(len(cells) == 1 && cells[0] == "") {
				got = append(got, cells)
			}
		}
		if errors.Is(gotErr, io.EOF) {
			gotErr = nil
		}
		if (gotErr == nil) != (wantErr == nil) {
			t.Fatalf("%q: %v, encoding/csv says %v", text, gotErr, wantErr)
		}
		// encoding/csv takes "" alone on a line for a cell.
		want = slices.DeleteFunc(want, func(cells []string) bool { return len(cells) == 1 && cells[0] == "" })
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); gotErr == nil && diff != "" {
			t.Fatalf("%q: %s", text, diff)
		}
	})
}

func newReader(text string) *bufio.Reader { return bufio.NewReader(strings.NewReader(text)) }
