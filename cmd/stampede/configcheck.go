package main

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"
)

// configCheckCmd prints what serve would run with.
type configCheckCmd struct {
	nodeFlags `embed:""`
	DevTools  bool `group:"Access" help:"Introspection and the playground, which production has no use for."`

	settings settings
	faults   faults
}

// Validate lists everything that is wrong with the configuration.
func (c *configCheckCmd) Validate() faults {
	c.readSecrets()
	return c.validate()
}

// Run prints the settings and the faults. Faults are its error.
func (c *configCheckCmd) Run(_ context.Context, std streams) error {
	table := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
	for _, one := range c.settings {
		if one.hidden {
			continue
		}
		fmt.Fprintf(table, "--%s\t%s\t%s\n", one.name, printable(one.value), one.source)
	}
	if c.bootPassword != "" {
		fmt.Fprintf(table, "%s\t%s\t%s\n", adminPasswordEnv, c.bootPassword, c.passwordPlace())
	}
	for _, one := range []struct {
		name  string
		value secret
	}{{stripeKeyEnv, c.stripeKey}, {stripeWebhookSecretEnv, c.stripeWebhookSecret}} {
		if one.value != "" && c.Payments == "stripe" {
			fmt.Fprintf(table, "%s\t%s\t%s\n", one.name, one.value, one.name)
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if len(c.faults) > 0 {
		return c.faults
	}
	fmt.Fprintln(std.out, "\nThe configuration has no faults.")
	return nil
}

// printable shows a setting's value; one that hides something hides it here too.
func printable(value any) string {
	switch v := value.(type) {
	case []string:
		value = strings.Join(v, ",")
	case fmt.Stringer:
		value = v.String()
	}
	if text := fmt.Sprint(value); text != "" {
		return text
	}
	return "-"
}
