package main

// stampede member list and stampede member drain: what an operator does with
// the nodes of a cluster. Both go through the API.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"text/tabwriter"
	"time"

	"stampede/cmd/stampede/internal/shop"
)

// memberListCmd shows who is in the cluster.
type memberListCmd struct {
	staffFlags
	JSON bool `name:"json" group:"Output" help:"Print one JSON array."`
}

// Validate lists everything that is wrong with the configuration.
func (c *memberListCmd) Validate() faults {
	var wrong faults
	c.validate(&wrong)
	return wrong
}

// Run prints a line a member.
func (c *memberListCmd) Run(ctx context.Context, std streams) error {
	client, err := c.client(ctx, 1)
	if err != nil {
		return err
	}
	all, err := client.Members(ctx)
	if err != nil {
		return err
	}
	if c.JSON {
		return json.NewEncoder(std.out).Encode(all)
	}
	table := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ID\tNAME\tADDRESS\tSTATE\tSINCE\tVERSION\tACTORS")
	for _, m := range all {
		counts := make([]string, len(m.Actors))
		for i, a := range m.Actors {
			counts[i] = fmt.Sprintf("%s %d", a.Kind, a.Active)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", m.ID, m.Name, orDash(m.Address), m.State, m.Since.Format(time.DateTime), m.Version, orDash(strings.Join(counts, ", ")))
	}
	return table.Flush()
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// memberDrainCmd has a member hand over what it has and end.
type memberDrainCmd struct {
	staffFlags
	Member string        `arg:"" help:"The member's id, or its name if one member alone has it."`
	Wait   time.Duration `default:"1m" placeholder:"TIME" group:"Drain" help:"How long to wait until it has left; 0s: not at all."`
}

var memberPattern = regexp.MustCompile(`^mem_[a-z2-7]{26}$`)

// Validate lists everything that is wrong with the configuration.
func (c *memberDrainCmd) Validate() faults {
	var wrong faults
	c.validate(&wrong)
	if c.Wait < 0 {
		wrong.add("wait", "is %s; 0s or more is right", c.Wait)
	}
	if c.Member == "" {
		wrong.add("<member>", "is empty; give a member's id or name, as \"stampede member list\" shows it")
	}
	return wrong
}

// Run asks for the drain, and waits until the member has left.
func (c *memberDrainCmd) Run(ctx context.Context, std streams) error {
	client, err := c.client(ctx, 1)
	if err != nil {
		return err
	}
	all, err := client.Members(ctx)
	if err != nil {
		return err
	}
	id, err := memberNamed(all, c.Member)
	if err != nil {
		return err
	}
	if err := client.DrainMember(ctx, id); err != nil {
		return err
	}
	fmt.Fprintf(std.out, "%s drains\n", id)
	if c.Wait == 0 {
		return nil
	}
	if err := awaitLeft(ctx, client, id, c.Wait); err != nil {
		return err
	}
	fmt.Fprintf(std.out, "%s has left\n", id)
	return nil
}

// memberNamed is the id of the member that is meant.
func memberNamed(all []shop.Member, named string) (string, error) {
	if memberPattern.MatchString(named) {
		return named, nil
	}
	var ids []string
	for _, m := range all {
		if m.Name == named && m.State != "DOWN" {
			ids = append(ids, m.ID)
		}
	}
	switch len(ids) {
	case 1:
		return ids[0], nil
	case 0:
		return "", fmt.Errorf("no member is called %q; \"stampede member list\" shows who there is", named)
	}
	return "", fmt.Errorf("%d members are called %q: %s; give an id", len(ids), named, strings.Join(ids, ", "))
}

// memberPoll is how often it is looked whether the member has left.
const memberPoll = 200 * time.Millisecond

func awaitLeft(ctx context.Context, client *shop.Client, id string, within time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	for {
		all, err := client.Members(ctx)
		if err == nil && !isThere(all, id) {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("%s has not left within %s", id, within), err)
		case <-time.After(memberPoll):
		}
	}
}

func isThere(all []shop.Member, id string) bool {
	for _, m := range all {
		if m.ID == id {
			return m.State != "DOWN"
		}
	}
	return false
}
