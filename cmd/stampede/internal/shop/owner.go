package shop

import "context"

// OwnerOf is the id of the member that decides over an actor; empty: nobody does
// just now.
func (c *Client) OwnerOf(ctx context.Context, kind, key string) (string, error) {
	var data struct {
		Actor *struct {
			Member string `json:"member"`
		} `json:"actor"`
	}
	err := c.Call(ctx, `query Owner($kind:String!,$key:String!){actor(kind:$kind,key:$key){member}}`, map[string]any{"kind": kind, "key": key}, &data)
	if err != nil || data.Actor == nil {
		return "", err
	}
	return data.Actor.Member, nil
}
