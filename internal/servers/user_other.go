//go:build !unix

package servers

import "syscall"

// User is who a server runs as: here always ourselves.
type User struct{ UID, GID uint32 }

func Attributes(*User) *syscall.SysProcAttr { return nil }

func OrdinaryUser() (*User, error) { return nil, nil }
