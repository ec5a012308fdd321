package shop

import (
	"context"
	"time"
)

// Member is one incarnation of a node, as operators see it.
type Member struct {
	ID      string       `json:"id"`
	Name    string       `json:"name"`
	Address string       `json:"address"`
	State   string       `json:"state"`
	Version string       `json:"version"`
	Since   time.Time    `json:"since"`
	Actors  []ActorCount `json:"actors"`
}

// ActorCount is how many actors of a kind are in memory.
type ActorCount struct {
	Kind   string `json:"kind"`
	Active int    `json:"active"`
}

// Members lists who is in the cluster, and who lately was.
func (c *Client) Members(ctx context.Context) ([]Member, error) {
	var data struct {
		Members []Member `json:"members"`
	}
	err := c.Call(ctx, `{members{id name address state version since actors{kind active}}}`, nil, &data)
	return data.Members, err
}

// DrainMember asks a member to hand over what it has and end.
func (c *Client) DrainMember(ctx context.Context, id string) error {
	var data struct {
		DrainMember struct {
			UserErrors []UserError `json:"userErrors"`
		} `json:"drainMember"`
	}
	const document = `mutation Drain($input:DrainMemberInput!){drainMember(input:$input){userErrors{code message field}}}`
	if err := c.Call(ctx, document, map[string]any{"input": map[string]any{"id": id}}, &data); err != nil {
		return err
	}
	if failed := data.DrainMember.UserErrors; len(failed) > 0 {
		return &failed[0]
	}
	return nil
}
