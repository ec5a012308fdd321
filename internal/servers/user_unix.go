//go:build unix

package servers

import (
	"fmt"
	"os"
	osuser "os/user"
	"strconv"
	"syscall"
)

// User is who a server runs as.
type User struct{ UID, GID uint32 }

// Attributes puts a server into a process group of its own, so that Ctrl-C at
// the terminal reaches the test process only.
func Attributes(u *User) *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Setpgid: true}
	if u != nil {
		a.Credential = &syscall.Credential{Uid: u.UID, Gid: u.GID}
	}
	return a
}

// OrdinaryUser is nil unless we are root: then it is a user that a program
// which refuses root can run as.
func OrdinaryUser() (*User, error) {
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
		return &User{UID: uint32(uid), GID: uint32(gid)}, nil
	}
	return nil, fmt.Errorf("%w: no user that is not root", ErrAbsent)
}
