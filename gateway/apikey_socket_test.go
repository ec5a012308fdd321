package gateway_test

import (
	"testing"

	"stampede/gateway/auth"
	"stampede/gateway/httpapi"
)

// A machine opens a socket with its key, and the socket ends soon after the
// key is revoked: at the next ping.
func TestAPIKeyOnASocket(t *testing.T) {
	inHall(t, httpapi.StreamLimits{}, func(_ *testing.T, h *hall) {
		refused := h.connect()
		refused.send(`{"type":"connection_init","payload":{"x-api-key":"made up"}}`)
		refused.closes(4403, "API key")

		c := h.connect()
		c.send(`{"type":"connection_init","payload":{"x-api-key":"` + asStaff + `"}}`)
		c.wants(`{"type":"connection_ack"}`)
		c.send(`{"type":"subscribe","id":"1","payload":{"query":"{ orders { edges { node { id } } } }"}}`) // for staff
		c.wants(`{"id":"1","type":"next","payload":{"data":{"orders":{"edges":[]}}}}`)
		c.wants(`{"id":"1","type":"complete"}`)
		h.accounts.refuseKeys(auth.ErrAPIKey) // revoked
		c.closes(4403, "API key")
	})
}
