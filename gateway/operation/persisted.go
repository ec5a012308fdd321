package operation

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"stampede/gateway/fault"
)

// Automatic persisted queries: a client sends the hash alone, is told that it is
// not known, sends both once, and from then on only the hash. What is kept is
// a cache: bounded, and lost with the process.

// text is the document of a request, looked up by its hash if it was left out.
func (e *Engine) text(p *Params) (string, *fault.Error) {
	if p.Query != "" {
		return p.Query, nil
	}
	if p.PersistedHash == "" {
		return "", fault.New(fault.BadRequest, "query must be given: a GraphQL document")
	}
	text, ok := e.persisted.get(strings.ToLower(p.PersistedHash))
	if !ok {
		// The words that Apollo's clients look for.
		return "", fault.New(fault.PersistedNotFound, "PersistedQueryNotFound")
	}
	return text, nil
}

// keep remembers a valid document under its hash when both were sent.
func (e *Engine) keep(p *Params, text string) *fault.Error {
	if p.PersistedHash == "" || p.Query == "" {
		return nil
	}
	sum := sha256.Sum256([]byte(text))
	hash := hex.EncodeToString(sum[:])
	if !strings.EqualFold(hash, p.PersistedHash) {
		return fault.InvalidField("must be the SHA-256 of the query in hexadecimal", "extensions", "persistedQuery", "sha256Hash")
	}
	e.persisted.put(hash, text, len(text))
	return nil
}
