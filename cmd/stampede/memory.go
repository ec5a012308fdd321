package main

import (
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

const (
	// gcPercent: what lives (actors, caches) is small beside what a request
	// leaves behind, and collecting it at every doubling cost a third of the CPU.
	gcPercent = 400
	// memoryShare of the container or machine is where the collector stops being
	// so patient.
	memoryShare = 0.5
)

// relaxGC trades memory for CPU. GOGC and GOMEMLIMIT, where they are set, win.
func relaxGC(log *slog.Logger) error {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	limits := memlimit.ApplyFallback(memlimit.FromCgroup, memlimit.FromSystem)
	if _, err := memlimit.Set(memlimit.WithRatio(memoryShare), memlimit.WithProvider(limits), memlimit.WithLogger(log)); err != nil {
		return fmt.Errorf("memory limit: %w", err)
	}
	return nil
}
