package main

import (
	"context"
	"fmt"

	"stampede/cmd/stampede/internal/catalogue"
	"stampede/cmd/stampede/internal/shop"
)

// devCmd is a whole shop on one machine.
type devCmd struct {
	nodeFlags `embed:""`
	// generated is the operator's password when nobody gave one.
	generated secret
}

const devAdmin = "admin@stampede.test"

// Validate lists everything that is wrong with the configuration, and decides
// who the operator is.
func (c *devCmd) Validate() faults {
	c.readSecrets()
	if c.BootAdmin == "" {
		c.BootAdmin = devAdmin
		if c.bootPassword == "" {
			c.generated = secret(randomHex(10))
			c.bootPassword = c.generated
		}
	}
	return c.validate()
}

// Run serves until ctx ends, then drains.
func (c *devCmd) Run(ctx context.Context, std streams) error {
	config := nodeConfig{nodeFlags: c.nodeFlags, devTools: true, samplePictures: true}
	return runNode(ctx, config, std, func(ctx context.Context, n *node) error { return c.welcome(ctx, n, std) })
}

// welcome fills the shop and says where everything is.
func (c *devCmd) welcome(ctx context.Context, n *node, std streams) error {
	token, err := n.operatorToken()
	if err != nil {
		return err
	}
	made, err := catalogue.Fill(ctx, shop.NewClient(n.url, token))
	if err != nil {
		return err
	}
	fmt.Fprintf(std.out, "Stampede is open.\n\n")
	if made > 0 {
		fmt.Fprintf(std.out, "  catalogue   %d sample products were made\n", made)
	}
	for _, line := range [][2]string{
		{"shop", n.url + "/"},
		{"console", n.url + "/console"},
		{"GraphQL", n.url + "/graphql   (open it in a browser for the playground)"},
		{"health", n.adminURL + "/readyz, " + n.adminURL + "/metrics"},
		{"events", n.kafka + "   (Kafka: stampede.orders.v1, stampede.stock.v1, stampede.products.v1, …)"},
		{"operator", c.BootAdmin + "   " + c.passwordNote(n)},
	} {
		fmt.Fprintf(std.out, "  %-10s  %s\n", line[0], line[1])
	}
	fmt.Fprintf(std.out, examples, n.url)
	return nil
}

// passwordNote says the password the one time that it can be said.
func (c *devCmd) passwordNote(n *node) string {
	switch {
	case n.operatorMade && c.generated != "":
		return "password " + string(c.generated) + "   (shown this once)"
	case c.generated != "":
		return "with the password that was shown when " + c.DataDir + " was new"
	}
	return "with the password in " + c.passwordPlace()
}

const examples = `
Try, in another terminal:

  URL=%s/graphql
  curl -s $URL -H 'content-type: application/json' \
    -d '{"query":"{ products(first: 3) { edges { node { name variants { sku price { amount currency } stock { available } } } } } }"}'

  TOKEN=$(curl -s $URL -H 'content-type: application/json' \
    -d "{\"query\":\"mutation { registerUser(input: {email: \\\"me$RANDOM@example.com\\\", password: \\\"correct horse battery\\\"}) { tokens { accessToken } } }\"}" \
    | sed 's/.*"accessToken":"\([^"]*\)".*/\1/')
  curl -s $URL -H 'content-type: application/json' -H "authorization: Bearer $TOKEN" \
    -d '{"query":"mutation { placeOrder(input: {idempotencyKey: \"first\", lines: [{sku: \"NOVA-LE\", quantity: 1}]}) { order { number state total { amount currency } } userErrors { code message } } }"}'

`
