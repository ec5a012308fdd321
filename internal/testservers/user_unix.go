//go:build unix

package testservers

import (
	"fmt"
	"os"
	osuser "os/user"
	"strconv"
	"syscall"
)

// user is who a server runs as.
type user struct{ uid, gid uint32 }

// attributes puts a server into a process group of its own, so that Ctrl-C at
// the terminal reaches the test process only.
func attributes(u *user) *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Setpgid: true}
	if u != nil {
		a.Credential = &syscall.Credential{Uid: u.uid, Gid: u.gid}
	}
	return a
}

// ordinaryUser is nil unless we are root: then it is a user that a program
// which refuses root can run as.
func ordinaryUser() (*user, error) {
	if os.Geteuid() != 0 {
		return nil, nil //nolint:nilnil // nobody else is needed
	}
	for _, name := range []string{"postgres", "nobody"} {
		found, err := osuser.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.ParseUint(found.Uid, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("user id of %s: %w", name, err)
		}
		gid, err := strconv.ParseUint(found.Gid, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("group id of %s: %w", name, err)
		}
		return &user{uid: uint32(uid), gid: uint32(gid)}, nil
	}
	return nil, fmt.Errorf("%w: no user that is not root", errAbsent)
}
