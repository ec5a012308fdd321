//go:build !unix

package testservers

import "syscall"

// user is who a server runs as: here always ourselves.
type user struct{ uid, gid uint32 }

func attributes(*user) *syscall.SysProcAttr { return nil }

func ordinaryUser() (*user, error) { return nil, nil }
