package broker

// Cleaning: topics are shortened to what they keep. The embedded broker does it
// by itself, too, but then at any time: to shorten a topic to the newest of each
// key it removes the files and writes them again, and what it cannot write then
// is gone. So it is told when: when files can grow, when there is something to
// gain, and with a mark in the directory while it lasts.

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"
)

const (
	cleanEvery = time.Minute
	// shortenAfter is what the topics grow by before it is worth it.
	shortenAfter = 2 << 20
	// neverMs is the broker's own interval, a hundred years.
	neverMs = "3153600000000"
	// shorteningFile is there while topics are shortened. It is as large as what
	// has to have room then beside what is freed.
	shorteningFile  = "shortening"
	shorteningBytes = 1 << 20
)

// lostLevels: the process ended in the middle of it.
const lostLevels = `the embedded broker was ended while it shortened its topics and may have lost the newest values of compacted ones: "stampede events replay --kind sku" publishes them again`

// cleanNowAndThen ends when stop is closed.
func (b *Broker) cleanNowAndThen() {
	ticker := time.NewTicker(cleanEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			b.clean()
		case <-b.stop:
			return
		}
	}
}

// clean drops what the topics keep no longer. For cleanNowAndThen alone.
func (b *Broker) clean() {
	b.cluster.ApplyRetention()
	size := b.bytes()
	if size < b.shortened+shortenAfter {
		b.shortened = min(b.shortened, size)
		return
	}
	if err := b.mark(); err != nil {
		b.log.Error("the embedded broker's directory has no room: topics are not shortened", slog.Any("error", err))
		return
	}
	b.cluster.Compact()
	b.shortened = b.bytes()
	if err := os.Remove(b.marker()); err != nil {
		b.log.Error("the embedded broker's directory", slog.Any("error", err))
	}
}

func (b *Broker) marker() string { return filepath.Join(b.dir, shorteningFile) }

// mark says that topics are being shortened, and finds out whether files can grow.
func (b *Broker) mark() error {
	err := os.WriteFile(b.marker(), make([]byte, shorteningBytes), filePermissions)
	if err != nil {
		err = errors.Join(err, ignoreAbsent(os.Remove(b.marker())))
	}
	return err
}

// unmark says so if the last process was ended while topics were shortened.
func (b *Broker) unmark() error {
	switch err := os.Remove(b.marker()); {
	case err == nil:
		b.log.Error(lostLevels)
		return nil
	default:
		return ignoreAbsent(err)
	}
}

func ignoreAbsent(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// bytes is what the topics take on disk. What vanishes meanwhile counts nothing.
func (b *Broker) bytes() (sum int64) {
	err := filepath.WalkDir(filepath.Join(b.dir, dataFolder), func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return ignoreAbsent(err)
		}
		info, err := entry.Info()
		if err == nil {
			sum += info.Size()
		}
		return ignoreAbsent(err)
	})
	if err != nil {
		b.log.Error("the embedded broker's directory", slog.Any("error", fmt.Errorf("its size: %w", err)))
	}
	return sum
}
