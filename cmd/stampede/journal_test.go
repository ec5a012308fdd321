package main

import (
	"bytes"
	"database/sql"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	_ "modernc.org/sqlite" // the database's own driver, to spoil what is stored

	"stampede/actors/entity"
	"stampede/persistence/sqlite"
	"stampede/proto/gen/journalpb"
	"stampede/proto/gen/rosterpb"
)

// journalCommand runs a journal command on a data directory.
func journalCommand(t *testing.T, directory string, args ...string) (int, string) {
	t.Helper()
	var out bytes.Buffer
	status := run(t.Context(), append(append([]string{"journal"}, args...), "--data-dir="+directory), streams{in: strings.NewReader(""), out: &out, err: &out})
	return status, out.String()
}

// openFilled makes a data directory with three records of one actor, and leaves
// it open.
func openFilled(t *testing.T) (string, *sqlite.Store) {
	t.Helper()
	directory := t.TempDir()
	store, err := sqlite.Open(t.Context(), directory)
	if err != nil {
		t.Fatal(err)
	}
	epoch, err := store.OpenEpoch(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	for n := range uint64(3) {
		event, err := proto.Marshal(&rosterpb.Event{Event: &rosterpb.Event_Joined{Joined: &rosterpb.Joined{UserId: "usr_a", Version: int64(n) + 1}}})
		if err != nil {
			t.Fatal(err)
		}
		batch, err := proto.Marshal(&journalpb.Batch{Entries: []*journalpb.Entry{{Event: event}}})
		if err != nil {
			t.Fatal(err)
		}
		rec := &entity.Record{Kind: "roster", ID: "a", Seq: n + 1, FirstVersion: n + 1, LastVersion: n + 1, Epoch: epoch, Position: n + 1, Events: batch}
		rec.Checksum = rec.Sum()
		if err := store.Append(t.Context(), []*entity.Record{rec})[0]; err != nil {
			t.Fatal(err)
		}
	}
	return directory, store
}

func TestJournal(t *testing.T) {
	directory, store := openFilled(t)
	for _, command := range [][]string{{"verify"}, {"show", "roster/a"}} {
		if status, said := journalCommand(t, directory, command...); status != exitFailed || !strings.Contains(said, "in use by another process") {
			t.Errorf("%v of a directory that is in use: %d %s", command, status, said)
		}
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	if status, said := journalCommand(t, directory, "verify"); status != exitOK || !strings.Contains(said, "3 records") || !strings.Contains(said, "The journal is whole.") {
		t.Errorf("a whole journal: %d %s", status, said)
	}
	if status, said := journalCommand(t, directory, "show", "roster/a"); status != exitOK || strings.Count(said, "\n") != 3 || !strings.Contains(said, `"type":"Joined"`) {
		t.Errorf("three records: %d %s", status, said)
	}

	db, err := sql.Open("sqlite", filepath.Join(directory, sqlite.JournalFile))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.ExecContext(t.Context(), "UPDATE records SET events = x'00' || events WHERE seq = 2"); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	status, said := journalCommand(t, directory, "verify")
	if status != exitFailed || !strings.Contains(said, "roster/a record 2: checksum") || !strings.Contains(said, "the journal is damaged: 1 faults") {
		t.Errorf("a spoiled record: %d %s", status, said)
	}
	if status, said := journalCommand(t, directory, "show", "roster/a"); status != exitFailed || !strings.Contains(said, `"problem":"`) {
		t.Errorf("a spoiled record is shown: %d %s", status, said)
	}
}

func TestJournalOfNothing(t *testing.T) {
	directory := filepath.Join(t.TempDir(), "none")
	if status, said := journalCommand(t, directory, "verify"); status != exitFailed || !strings.Contains(said, "has no journal") {
		t.Errorf("no directory: %d %s", status, said)
	}
	if status, said := journalCommand(t, t.TempDir(), "show", "mug"); status != exitUsage || !strings.Contains(said, "is not kind/id") {
		t.Errorf("no stream: %d %s", status, said)
	}
}
