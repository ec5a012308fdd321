package exchange

import (
	"context"
	"fmt"
)

const exportDocument = `query($first:Int!,$after:String){products(first:$first,after:$after){edges{node{` + withStock + `}}pageInfo{hasNextPage endCursor}}}`

// Export reads all products, with those that are not published. progress is
// told how many there are so far.
func Export(ctx context.Context, c Caller, progress func(int)) ([]*Record, error) {
	var records []*Record
	var after *string
	for {
		var data struct {
			Products struct {
				Edges []struct {
					Node stored `json:"node"`
				} `json:"edges"`
				PageInfo struct {
					HasNextPage bool    `json:"hasNextPage"`
					EndCursor   *string `json:"endCursor"`
				} `json:"pageInfo"`
			} `json:"products"`
		}
		if err := c.Call(ctx, exportDocument, map[string]any{"first": exportPage, "after": after}, &data); err != nil {
			return nil, fmt.Errorf("list products: %w", err)
		}
		for i := range data.Products.Edges {
			r, err := data.Products.Edges[i].Node.record()
			if err != nil {
				return nil, err
			}
			records = append(records, r)
		}
		if len(records) > MaxProducts {
			return nil, fmt.Errorf("the shop has more than %d products, which is the most that a file has", MaxProducts)
		}
		progress(len(records))
		if !data.Products.PageInfo.HasNextPage {
			return records, nil
		}
		after = data.Products.PageInfo.EndCursor
	}
}
