package inbound

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"stampede/actors/entity"
	"stampede/proto/gen/commonpb"
	"stampede/proto/gen/skupb"
)

const skuKind = "sku"

// errBusy: the SKU says to come again.
var errBusy = errors.New("the SKU says later")

// try sends a command once. An error: it is to be tried again, not before wait.
func (c *Consumer) try(ctx context.Context, cmd command) (r *rejection, wait time.Duration, err error) {
	attempt, cancel := context.WithTimeout(entity.WithTrace(ctx, cmd.trace), c.cfg.Limits.CallTimeout)
	defer cancel()
	reply, err := c.cfg.Caller.Call(attempt, entity.Address{Kind: skuKind, ID: cmd.sku}, cmd.cmd)
	if err != nil {
		if entity.Retryable(err) || attempt.Err() != nil {
			return nil, 0, err
		}
		// Nobody can do it, now or later, and those behind it must not wait for ever.
		c.logger.Error("a command cannot be done and becomes a dead letter", slog.String("sku", cmd.sku), slog.Any("error", err))
		return &rejection{reason: reasonFault, message: "the SKU cannot be asked: the shop's log says why"}, 0, nil
	}
	answer, ok := reply.(*skupb.StockReply)
	if !ok {
		return nil, 0, fmt.Errorf("SKU %s answered with %T", cmd.sku, reply)
	}
	refusal := answer.Refusal
	if refusal == nil {
		return nil, 0, nil
	}
	if r := refusal.Reason; r == commonpb.Reason_REASON_THROTTLED || r == commonpb.Reason_REASON_IN_PROGRESS {
		return nil, time.Duration(refusal.RetryAfterMs) * time.Millisecond, fmt.Errorf("%w: %s", errBusy, refusal.Message)
	}
	return &rejection{reason: strings.TrimPrefix(refusal.Reason.String(), "REASON_"), message: refusal.Message, field: refusal.Field}, 0, nil
}
