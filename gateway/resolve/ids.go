package resolve

import (
	"encoding/base64"
	"encoding/binary"
	"strings"

	"stampede/gateway/fault"
	"stampede/gateway/graph"
)

// Ids are those of the aggregates: a prefix that says what it is, and 26
// characters of lower-case base32.
const (
	orderPrefix   = "ord_"
	productPrefix = "prd_"
	userPrefix    = "usr_"
	idLength      = 4 + 26
	base32Letters = "abcdefghijklmnopqrstuvwxyz234567"
)

func isID(id, prefix string) bool {
	return len(id) == idLength && strings.HasPrefix(id, prefix) && strings.Trim(id[len(prefix):], base32Letters) == ""
}

// wantID says what an id must look like.
func wantID(prefix string) string {
	return "must be an id as the API gave it: " + prefix + " and 26 lower-case letters and digits"
}

// checkID is about the argument id.
func checkID(id, prefix string) error {
	if !isID(id, prefix) {
		return fault.InvalidField(wantID(prefix), "id")
	}
	return nil
}

// isSKU: [A-Za-z0-9_-]{1,64}
func isSKU(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' && c != '-' {
			return false
		}
	}
	return true
}

const wantSKU = "must be a SKU: 1 to 64 letters, digits, hyphens and underscores"

// A cursor is the place of a row in its list: version, sort key, id. It stays
// valid when rows are added or go.
const cursorVersion = 1

func cursorOf(sortMs int64, id string) string {
	var raw [1 + 8 + idLength]byte
	b := append(raw[:0], cursorVersion)
	b = binary.BigEndian.AppendUint64(b, uint64(sortMs))
	return base64.RawURLEncoding.EncodeToString(append(b, id...))
}

func parseCursor(cursor, prefix string) (sortMs int64, id string, err error) {
	raw, decodeErr := base64.RawURLEncoding.DecodeString(cursor)
	if decodeErr != nil || len(raw) != 1+8+idLength || raw[0] != cursorVersion || !isID(string(raw[9:]), prefix) {
		return 0, "", fault.InvalidField("must be a cursor that this list gave", "after")
	}
	return int64(binary.BigEndian.Uint64(raw[1:])), string(raw[9:]), nil
}

// nodeOf makes a typed nil, which would be an object to GraphQL, nothing.
func nodeOf[T any, P interface {
	*T
	graph.Node
}](p P, err error) (graph.Node, error) {
	if err != nil || p == nil {
		return nil, err
	}
	return p, nil
}
