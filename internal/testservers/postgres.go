package testservers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"stampede/internal/servers"
)

const (
	postgresName     = "PostgreSQL"
	postgresVariable = "STAMPEDE_TEST_POSTGRES"
)

// Postgres returns the URL of a PostgreSQL that this test binary shares, with
// its durability settings as shipped (fsync and synchronous_commit on), or what
// STAMPEDE_TEST_POSTGRES names. It is what benchmarks compare with; nothing of
// the project runs on it.
func Postgres(t testing.TB) string {
	t.Helper()
	return obtain(t, postgresName, postgresVariable, &shared.postgres, startPostgres)
}

func startPostgres() (string, *servers.Process, error) {
	bin, err := postgresPrograms()
	if err != nil {
		return "", nil, err
	}
	as, err := servers.OrdinaryUser()
	if err != nil {
		return "", nil, err
	}
	var url string
	p, err := servers.OnFreePorts(1, func(ports []int) (*servers.Process, error) {
		dir, err := servers.NewFolder("postgres")
		if err != nil {
			return nil, err
		}
		port := strconv.Itoa(ports[0])
		url = "postgres://stampede@127.0.0.1:" + port + "/postgres?sslmode=disable"
		data := filepath.Join(dir, "data")
		p := &servers.Process{Name: "postgres", Dir: dir, User: as, Argv: []string{
			filepath.Join(bin, "postgres"), "-D", data, "-p", port, "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=",
		}}
		p.Ready = func(ctx context.Context) error { return postgresReady(ctx, url, data) }
		if err := initdb(bin, dir, data, as); err != nil {
			return p, err
		}
		return p, p.Start()
	})
	return url, p, err
}

func initdb(bin, dir, data string, as *servers.User) error {
	if as != nil {
		if err := os.Chown(dir, int(as.UID), int(as.GID)); err != nil {
			return fmt.Errorf("folder for %s: %w", postgresName, err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), servers.ReadyWithin)
	defer cancel()
	//nolint:gosec // the program is the system's
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "initdb"), "-D", data, "-U", "stampede", "-A", "trust", "-E", "UTF8", "--locale=C")
	cmd.Dir, cmd.SysProcAttr = dir, servers.Attributes(as)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	return nil
}

// postgresPrograms is the folder of initdb and postgres; Debian keeps it off PATH.
func postgresPrograms() (string, error) {
	if path, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(path), nil
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil || len(found) == 0 {
		return "", fmt.Errorf("%w: no initdb", servers.ErrAbsent)
	}
	return filepath.Dir(found[len(found)-1]), nil
}

// postgresReady returns nil when the server on the data folder answers at url.
func postgresReady(ctx context.Context, url, data string) (err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return fmt.Errorf("connecting: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close(ctx)) }()
	var serving string
	if err := conn.QueryRow(ctx, "SHOW data_directory").Scan(&serving); err != nil {
		return fmt.Errorf("asking for the data folder: %w", err)
	}
	if serving != data {
		return fmt.Errorf("address already in use by a server on %s", serving)
	}
	return nil
}
