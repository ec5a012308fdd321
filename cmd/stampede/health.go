package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// healthCmd asks a node whether it is well: the health check of an image that
// has nothing but this program.
type healthCmd struct {
	URL     string        `name:"url" default:"http://127.0.0.1:8081/readyz" placeholder:"URL" help:"What to ask: /readyz of a node's admin address, which is also what a base without a path means, or /livez."`
	Timeout time.Duration `default:"3s" placeholder:"TIME" help:"How long to wait for the answer."`
}

// maxHealthBytes bounds what is shown of an answer.
const maxHealthBytes = 4 << 10

// Validate lists everything that is wrong with the configuration.
func (c *healthCmd) Validate() faults {
	var wrong faults
	if u, err := url.Parse(c.URL); err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		wrong.add("url", "%q is not an address such as http://127.0.0.1:8081/readyz", c.URL)
	}
	if c.Timeout <= 0 || c.Timeout > time.Minute {
		wrong.add("timeout", "is %s; more than 0s up to 1m0s is right", c.Timeout)
	}
	return wrong
}

var errUnhealthy = errors.New("not well")

// endpoint is what is asked. STAMPEDE_URL may be there for the other commands,
// whose --url is a shop's base: its storefront, which answers anyone, says
// nothing of the node's health.
func (c *healthCmd) endpoint() (string, error) {
	u, err := url.Parse(c.URL)
	if err != nil {
		return "", err
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = "/readyz"
	}
	return u.String(), nil
}

// Run prints what the node says of itself. Anything but a 200 is an error, and
// so exit status 1.
func (c *healthCmd) Run(ctx context.Context, std streams) error {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	asked, err := c.endpoint()
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, asked, nil)
	if err != nil {
		return err
	}
	// No proxy: the node is asked, and nobody else.
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Do(request) //nolint:gosec // the address is the caller's own
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxHealthBytes))
	if err != nil {
		return err
	}
	said := strings.TrimSpace(string(body))
	if answer.StatusCode == http.StatusNotFound {
		return fmt.Errorf("%w: %s has no such page; give the node's admin address, the one of its --admin-listen", errUnhealthy, asked)
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%w: %s: %s", errUnhealthy, answer.Status, said)
	}
	fmt.Fprintln(std.out, said)
	return nil
}
