package resolve

import (
	"context"
	"fmt"
	"time"

	"github.com/vikstrous/dataloadgen"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	"stampede/gateway/fault"
	"stampede/persistence"
	"stampede/proto/gen/accountpb"
	"stampede/proto/gen/commonpb"
	"stampede/proto/gen/skupb"
)

const (
	// loadWait is how long the first of a batch waits for the others.
	loadWait = 500 * time.Microsecond
	// loadBatch is the most in one batch.
	loadBatch = 100
	// askedAtOnce bounds how many actors one request asks at the same time.
	askedAtOnce = 16
)

// loaders collect what the fields of one request ask for one by one, ask for
// each thing once, and for many at a time.
type loaders struct {
	levels *dataloadgen.Loader[string, *skupb.Level]
	users  *dataloadgen.Loader[string, *accountpb.User]
}

// loaders are made when the first field of the request needs them.
func (r *Resolver) loaders(ctx context.Context) *loaders {
	s := ScopeOf(ctx)
	s.loadersOnce.Do(func() {
		s.loaders = &loaders{
			levels: dataloadgen.NewLoader(r.fetchShownLevels, dataloadgen.WithWait(loadWait), dataloadgen.WithBatchCapacity(loadBatch)),
			users:  dataloadgen.NewLoader(r.fetchUsers, dataloadgen.WithWait(loadWait), dataloadgen.WithBatchCapacity(loadBatch)),
		}
	})
	return s.loaders
}

// fetchLevels asks the SKUs' actors; nil for a SKU that no product has.
func (r *Resolver) fetchLevels(ctx context.Context, skus []string) ([]*skupb.Level, []error) {
	levels, errs := make([]*skupb.Level, len(skus)), make([]error, len(skus))
	if len(skus) == 1 {
		levels[0], errs[0] = r.level(ctx, skus[0])
		return levels, errs
	}
	var group errgroup.Group
	group.SetLimit(askedAtOnce)
	for i, sku := range skus {
		group.Go(func() error {
			levels[i], errs[i] = r.level(ctx, sku)
			return nil
		})
	}
	_ = group.Wait() // each has its own error in errs
	return levels, errs
}

// fetchShownLevels is fetchLevels for where a level only goes along, such as a
// page of products: one SKU must not take the page down. Of a SKU that does not
// answer it has the last level that the view knows, with the version and the
// time that it is of; of one that the view does not know and that will not
// answer later either, nothing.
func (r *Resolver) fetchShownLevels(ctx context.Context, skus []string) ([]*skupb.Level, []error) {
	askedAt := r.Clock()
	levels, errs := r.fetchLevels(ctx, skus)
	var silent []string
	for i, err := range errs {
		switch {
		case err != nil:
			silent = append(silent, skus[i])
		case levels[i] != nil:
			r.shown.put(skus[i], levels[i], askedAt)
		}
	}
	if silent == nil {
		return levels, errs
	}
	rows, err := r.Views.GetRows(ctx, kindSKU, silent)
	if err != nil {
		return levels, errs // the first error is the better reason
	}
	for i, sku := range skus {
		if errs[i] == nil {
			continue
		}
		last := lastLevel(rows, sku)
		_, passing := fault.Of(errs[i])
		if !passing {
			r.Logger.Error("a SKU does not answer; what was last known of its stock is shown", "sku", sku, "error", errs[i])
		}
		if last != nil || !passing {
			levels[i], errs[i] = last, nil
		}
	}
	return levels, errs
}

// lastLevel is a SKU's level among the view's rows, or nil.
func lastLevel(rows map[string]persistence.Row, sku string) *skupb.Level {
	row, known := rows[sku]
	var level skupb.Level
	if !known || unmarshalRow(row, &level) != nil {
		return nil
	}
	return &level
}

func (r *Resolver) level(ctx context.Context, sku string) (*skupb.Level, error) {
	reply, err := call[*skupb.StockReply](ctx, r.Caller, kindSKU, sku, &skupb.GetLevel{})
	if err != nil || reply.Refusal.GetReason() == commonpb.Reason_REASON_NOT_FOUND {
		return nil, err
	}
	if reply.Level == nil {
		return nil, fmt.Errorf("ask sku/%s: answered without a level: %s", sku, reply.Refusal.GetMessage())
	}
	return reply.Level, nil
}

// fetchUsers reads the view, and asks the actors of those whom it does not
// know yet; nil for a user that does not exist.
func (r *Resolver) fetchUsers(ctx context.Context, ids []string) ([]*accountpb.User, []error) {
	users, errs := make([]*accountpb.User, len(ids)), make([]error, len(ids))
	rows, err := r.Views.GetRows(ctx, kindAccount, ids)
	var group errgroup.Group
	group.SetLimit(askedAtOnce)
	for i, id := range ids {
		row, known := rows[id]
		switch {
		case err != nil:
			errs[i] = fmt.Errorf("read users: %w", err)
		case known:
			users[i] = &accountpb.User{}
			errs[i] = proto.Unmarshal(row.Body, users[i])
		default:
			group.Go(func() error {
				users[i], errs[i] = r.account(ctx, id)
				return nil
			})
		}
	}
	_ = group.Wait() // each has its own error in errs
	return users, errs
}

// account asks the account itself; nil when there is none.
func (r *Resolver) account(ctx context.Context, id string) (*accountpb.User, error) {
	user, refusal, err := r.Accounts.Get(ctx, id)
	if err != nil || refusal.GetReason() == commonpb.Reason_REASON_NOT_FOUND {
		return nil, err
	}
	if user == nil {
		return nil, fmt.Errorf("ask account/%s: answered without a user: %s", id, refusal.GetMessage())
	}
	return user, nil
}
