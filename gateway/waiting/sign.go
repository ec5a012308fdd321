// Package waiting is the waiting room of sales as every node sees it: signed
// tickets and admission tokens, and the schedules that places are computed
// from. It decides nothing: joining is the sale's decision.
package waiting

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"strings"
	"time"
)

const (
	// KeyBytes is the least length of the key that all nodes share.
	KeyBytes = 32
	// AdmittedFor is how long an admission token is good. Whoever is admitted
	// gets a new one with their ticket as long as the sale lasts.
	AdmittedFor = 5 * time.Minute

	salePrefix   = "sal_"
	ticketPrefix = "tkt_"
	idBytes      = 16
	ticketMAC    = 16
	ticketBytes  = idBytes + 4 + ticketMAC
	tokenBytes   = idBytes + 8 + sha256.Size
)

// Why an admission token is no good. Which one it is is for the shopper.
var (
	ErrToken   = errors.New("the admission token is not one for you and this sale: pass the one that your ticket has")
	ErrExpired = errors.New("the admission token has expired: ask for your ticket again, it has a new one")
)

var ids = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// Signer signs what a customer of a sale may show. A ticket carries the sale and
// the number, a token the sale and its end; whose they are is not in them but
// in their signature, so they are worth nothing to anybody else.
type Signer struct{ key []byte }

// NewSigner returns a signer over a key that all nodes share.
func NewSigner(key []byte) *Signer { return &Signer{key: key} }

// Ticket is the id of a customer's place.
func (s *Signer) Ticket(saleID, customerID string, number int64) string {
	sale, ok := saleBytes(saleID)
	if !ok {
		return ""
	}
	b := append(make([]byte, 0, ticketBytes), sale...)
	b = binary.BigEndian.AppendUint32(b, uint32(number)) //nolint:gosec // a sale has far fewer numbers
	return ticketPrefix + ids.EncodeToString(append(b, s.mac("ticket", b, customerID)[:ticketMAC]...))
}

// OpenTicket reads a ticket; ok only if it is this customer's.
func (s *Signer) OpenTicket(id, customerID string) (saleID string, number int64, ok bool) {
	raw, err := ids.DecodeString(strings.TrimPrefix(id, ticketPrefix))
	if err != nil || !strings.HasPrefix(id, ticketPrefix) || len(raw) != ticketBytes || ids.EncodeToString(raw) != id[len(ticketPrefix):] {
		return "", 0, false
	}
	signed, mac := raw[:idBytes+4], raw[idBytes+4:]
	if !hmac.Equal(mac, s.mac("ticket", signed, customerID)[:ticketMAC]) {
		return "", 0, false
	}
	return salePrefix + ids.EncodeToString(raw[:idBytes]), int64(binary.BigEndian.Uint32(raw[idBytes:])), true
}

// IsTicket reports whether the text has the form of a ticket's id.
func IsTicket(id string) bool {
	return strings.HasPrefix(id, ticketPrefix) && ids.DecodedLen(len(id)-len(ticketPrefix)) == ticketBytes && strings.Trim(id[len(ticketPrefix):], "abcdefghijklmnopqrstuvwxyz234567") == ""
}

// Admit is an admission token.
func (s *Signer) Admit(saleID, customerID string, expires time.Time) string {
	sale, ok := saleBytes(saleID)
	if !ok {
		return ""
	}
	b := append(make([]byte, 0, tokenBytes), sale...)
	b = binary.BigEndian.AppendUint64(b, uint64(expires.UnixMilli())) //nolint:gosec // after 1970
	return base64.RawURLEncoding.EncodeToString(append(b, s.mac("admission", b, customerID)...))
}

// Check is nil when the token lets the customer into the sale at that moment.
func (s *Signer) Check(token, saleID, customerID string, now time.Time) error {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || base64.RawURLEncoding.EncodeToString(raw) != token || len(raw) != tokenBytes || salePrefix+ids.EncodeToString(raw[:idBytes]) != saleID {
		return ErrToken
	}
	signed, mac := raw[:idBytes+8], raw[idBytes+8:]
	switch {
	case !hmac.Equal(mac, s.mac("admission", signed, customerID)):
		return ErrToken
	case now.UnixMilli() >= int64(binary.BigEndian.Uint64(raw[idBytes:])): //nolint:gosec // we wrote it
		return ErrExpired
	}
	return nil
}

func (s *Signer) mac(purpose string, signed []byte, customerID string) []byte {
	mac := hmac.New(sha256.New, s.key)
	mac.Write([]byte(purpose))
	mac.Write([]byte{0})
	mac.Write(signed) // of one length a purpose, so that it does not run into the customer's id
	mac.Write([]byte(customerID))
	return mac.Sum(nil)
}

func saleBytes(saleID string) ([]byte, bool) {
	raw, err := ids.DecodeString(strings.TrimPrefix(saleID, salePrefix))
	return raw, err == nil && len(raw) == idBytes
}
