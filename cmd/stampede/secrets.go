package main

import (
	"context"
	"fmt"
	"time"

	"stampede/cmd/stampede/internal/secrets"
)

// secretsInitCmd makes what the nodes of a new cluster share.
type secretsInitCmd struct {
	Directory  string `arg:"" name:"directory" help:"Where they are kept. What is there already is left alone."`
	ServerName string `default:"stampede-node" placeholder:"NAME" help:"What the nodes' certificate names: their --cluster-tls-server-name."`
}

// Validate lists everything that is wrong with the configuration.
func (c *secretsInitCmd) Validate() faults {
	var wrong faults
	if c.Directory == "" {
		wrong.add("<directory>", "is empty; give a directory")
	}
	checkDirectory(&wrong, "<directory>", c.Directory)
	if !nodeNamePattern.MatchString(c.ServerName) {
		wrong.add("server-name", "%q is not 1 to 63 letters, digits, dots, dashes or underscores, starting with a letter or digit", c.ServerName)
	}
	return wrong
}

// Run makes what is missing and says what it made; the operator's password is
// shown when it is new, and never again.
func (c *secretsInitCmd) Run(_ context.Context, std streams) error {
	set, err := secrets.Ensure(c.Directory, c.ServerName, time.Now())
	if err != nil {
		return err
	}
	for _, file := range set.Made {
		fmt.Fprintf(std.out, "made %s\n", file)
		if file != set.Password {
			continue
		}
		password, err := set.ReadPassword()
		if err != nil {
			return err
		}
		fmt.Fprintf(std.out, "     the operator's password is %s (shown this once)\n", password)
	}
	if len(set.Made) == 0 {
		fmt.Fprintf(std.out, "all of it was in %s already; nothing was made\n", c.Directory)
	}
	fmt.Fprintf(std.out, "the certificate between nodes names %s and is valid until %s\n", c.ServerName, set.Until.Format(time.DateOnly))
	return nil
}
