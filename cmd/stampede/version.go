package main

// Which build this is: the first thing to ask of a node that behaves unlike the
// others.

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
)

// release is the version that a build was given with -ldflags "-X main.release=…".
//
//nolint:gochecknoglobals // the linker sets it
var release string

// programVersion is the release, or the version control's, as the build noted it.
func programVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if release != "" {
		return release
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return s.Value[:12]
		}
	}
	return info.Main.Version
}

// versionCmd prints the version, the same that members have in the cluster.
type versionCmd struct{}

// Validate lists everything that is wrong with the configuration.
func (*versionCmd) Validate() faults { return nil }

// Run prints one line.
func (*versionCmd) Run(_ context.Context, std streams) error {
	_, err := fmt.Fprintf(std.out, "stampede %s %s %s/%s\n", programVersion(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}
