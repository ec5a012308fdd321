package events

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"stampede/actors/entity"
	"stampede/persistence"
)

// SaveEvery is how often a watermark that moved is saved. What was done since
// is done again after a crash: repeats, never a loss.
const SaveEvery = 250 * time.Millisecond

// Keeper saves a reader's watermarks. It belongs to one goroutine at a time.
type Keeper struct {
	reader string
	store  persistence.Watermarks
	logger *slog.Logger
	saved  map[entity.Epoch]uint64
	failed bool
}

// NewKeeper returns a keeper of the watermarks that cfg names.
func NewKeeper(cfg Config) *Keeper {
	return &Keeper{reader: cfg.Name, store: cfg.Watermarks, logger: cfg.Logger, saved: make(map[entity.Epoch]uint64)}
}

// Run saves what progress reports until ctx ends. progress is how far all is
// done, an incarnation.
func (k *Keeper) Run(ctx context.Context, progress func() map[entity.Epoch]uint64) {
	ticker := time.NewTicker(SaveEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		err := k.Save(ctx, progress())
		if err != nil && !k.failed && ctx.Err() == nil {
			k.logger.Error("watermarks cannot be saved: what is done now would be repeated after a restart",
				slog.String("reader", k.reader), slog.Any("error", err))
		}
		k.failed = err != nil
	}
}

// Save saves the watermarks that moved since they were last saved.
func (k *Keeper) Save(ctx context.Context, progress map[entity.Epoch]uint64) error {
	for epoch, position := range progress {
		if position <= k.saved[epoch] {
			continue
		}
		if err := k.store.SaveWatermark(ctx, k.reader, epoch, position); err != nil {
			return fmt.Errorf("save watermark of %s, epoch %d: %w", k.reader, epoch, err)
		}
		k.saved[epoch] = position
	}
	return nil
}
