package main

import (
	"fmt"
	"strings"
)

// fault is one thing that is wrong with a configuration.
type fault struct {
	// flag is its name without dashes; an argument's is in angle brackets, as the
	// help has it.
	flag string
	// problem says what is wrong and what would be right.
	problem string
	// source is the environment variable that the value came from; empty: the
	// command line or the default.
	source string
}

// faults are all that is wrong with a configuration: they are reported
// together, so that nobody has to fix them one by one.
type faults []fault

func (f *faults) add(flag, format string, args ...any) {
	*f = append(*f, fault{flag: flag, problem: fmt.Sprintf(format, args...)})
}

// has reports whether the flag already has a fault.
func (f faults) has(flag string) bool {
	for _, one := range f {
		if one.flag == flag {
			return true
		}
	}
	return false
}

// Error lists them, one a line.
func (f faults) Error() string {
	var b strings.Builder
	if len(f) == 1 {
		b.WriteString("stampede: the configuration has a fault:")
	} else {
		fmt.Fprintf(&b, "stampede: the configuration has %d faults:", len(f))
	}
	for _, one := range f {
		dashes := "--"
		if strings.HasPrefix(one.flag, "<") {
			dashes = ""
		}
		fmt.Fprintf(&b, "\n  %s%s: %s", dashes, one.flag, one.problem)
		if one.source != "" {
			fmt.Fprintf(&b, " (from %s)", one.source)
		}
	}
	return b.String()
}
