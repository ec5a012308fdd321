package servers

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
)

// watchdogScript ends what this program started when the process has
// gone: it then reads the end of its standard input, whether the process
// returned, panicked, timed out or was killed. (A parent-death signal would be
// tied to the thread that forked, which Go may end at any time, and exists on
// Linux only.) It is told of folders, of servers that run and of ones that have
// gone, a line each.
const watchdogScript = `
pids=
while read -r what id path; do
	case $what in
	pid) pids="$pids $id" ;;
	gone) new=; for p in $pids; do [ "$p" = "$id" ] || new="$new $p"; done; pids=$new ;;
	dir) set -- "$@" "$path" ;;
	esac
done
for p in $pids; do kill -9 "$p"; done
[ $# -eq 0 ] && exit
for again in 1 2 3 4 5; do rm -rf -- "$@" && exit; sleep 1; done
`

//nolint:gochecknoglobals // one watchdog a program
var startWatchdog = sync.OnceValues(func() (io.Writer, error) {
	cmd := exec.CommandContext(context.Background(), "sh", "-c", watchdogScript, "stampede-watchdog")
	// Away from our terminal's signals, and holding none of our outputs open:
	// go test waits for them.
	cmd.SysProcAttr = Attributes(nil)
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("watchdog: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("watchdog: %w", err)
	}
	return in, nil
})

// watchdogLine is one message to the watchdog; a write this short is atomic.
func watchdogLine(what, id, path string) error {
	if strings.ContainsAny(path, "\n\\") {
		return fmt.Errorf("watchdog: cannot pass on %q", path)
	}
	w, err := startWatchdog()
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(w, "%s %s %s\n", what, id, path); err != nil {
		return fmt.Errorf("watchdog: %w", err)
	}
	return nil
}

// GuardFolder has the watchdog remove a folder when this program has gone.
func GuardFolder(dir string) error { return watchdogLine("dir", "-", dir) }

// GuardProcess has the watchdog end a process when this program has gone.
func GuardProcess(pid int) error { return watchdogLine("pid", fmt.Sprint(pid), "") }

// ReleaseProcess: the process has gone, and its id may be given to another.
func ReleaseProcess(pid int) error { return watchdogLine("gone", fmt.Sprint(pid), "") }
