package e2e

// What the program must refuse: a data directory that is in use, and a journal
// that is not what was written.

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite" // to damage a journal
)

// A second process on the data directory is refused by the directory's name, by
// whichever command, and the first one does not notice.
func TestDataDirectoryInUseIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := serve(t, dir)
	sh := openShop(t, s, 1, variant{"ONE", "1.00", 10})
	for _, command := range [][]string{{"serve"}, {"dev"}, {"serve", "--kafka=" + s.kafka}} { // the last one has no broker whose files are in use
		ctx, cancel := context.WithTimeout(t.Context(), soon)
		second := exec.CommandContext(ctx, program(t), append(command, "--data-dir="+dir, "--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0", "--kafka-listen=127.0.0.1:0")...)
		second.Env = environment()
		var stdout, stderr bytes.Buffer
		second.Stdout, second.Stderr = &stdout, &stderr
		err := second.Run()
		cancel()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 1 && exit.ExitCode() != 2 {
			t.Errorf("%s: ended with %v, not with status 1 or 2", command, err)
		}
		if said := stderr.String(); !strings.Contains(said, dir) || !strings.Contains(said, "in use") || strings.Contains(said, "panic") {
			t.Errorf("%s: it did not say by name what is in use:\n%s", command, said)
		}
		if strings.Contains(stdout.String(), "ready ") {
			t.Errorf("%s: it said that it is ready:\n%s", command, stdout.String())
		}
	}
	if _, err := sh.customers[0].place(t.Context(), "still", "", want{"ONE", 1}); err != nil {
		t.Errorf("the first process: %v", err)
	}
	s.kill()
	// A process that was killed leaves nothing behind that would refuse the next one.
	s = serve(t, dir)
	sh.at.set(s)
	if l := sh.level(t, "ONE"); l.Held != 1 {
		t.Errorf("after the restart: %+v", *l)
	}
	s.stop()
}

// A letter in one record is another one. The SKU that it belongs to refuses, the
// log names the record, and everything else goes on: also while the views and
// the events are made anew from the journal. With the letter put back, all is as
// it was.
func TestCorruptRecordStopsItsActorAlone(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		// remove are files that the store makes anew from the journal.
		remove []string
	}{
		{"as it was stopped", nil},
		{"with the views made anew", []string{"cache.db", "cache.db-wal", "cache.db-shm"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			corruptRecord(t, c.remove)
		})
	}
}

func corruptRecord(t *testing.T, remove []string) {
	dir := t.TempDir()
	s := serve(t, dir)
	sh := openShop(t, s, 1, variant{"BAD", "1.00", 10}, variant{"GOOD", "2.00", 10})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	shopper := sh.customers[0]
	var placed []*order
	for i, sku := range []string{"BAD", "GOOD", "BAD", "GOOD"} {
		o, err := shopper.place(ctx, fmt.Sprintf("before-%d", i), "", want{sku, 1})
		if err != nil {
			t.Fatal(err)
		}
		placed = append(placed, o)
	}
	before := sh.level(t, "BAD")
	s.stop()

	seq := changeLetter(t, dir, "sku/BAD")
	for _, name := range remove {
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
	s = serve(t, dir)
	sh.at.set(s)
	refuses(ctx, t, sh, s, fmt.Sprintf("sku/BAD record %d", seq))
	goesOn(ctx, t, sh, placed)
	s.stop()

	if again := changeLetter(t, dir, "sku/BAD"); again != seq {
		t.Fatalf("record %d was damaged, and %d mended", seq, again)
	}
	s = serve(t, dir)
	sh.at.set(s)
	if after := sh.level(t, "BAD"); after.Held < before.Held || after.OnHand != before.OnHand {
		t.Errorf("with the record mended: %+v, before it was damaged: %+v", *after, *before)
	}
	if _, err := settle(ctx, func() (*order, error) { return shopper.place(ctx, "mended", "", want{"BAD", 1}) }); err != nil {
		t.Errorf("with the record mended: %v", err)
	}
	s.stop()
}

// refuses: nothing is sold or shown of the SKU, and the log says why.
func refuses(ctx context.Context, t *testing.T, sh *shop, s *server, record string) {
	t.Helper()
	began := time.Now()
	o, err := sh.customers[0].place(ctx, "damaged", "", want{"BAD", 1})
	if err == nil {
		t.Errorf("an order of the damaged SKU was accepted: %+v", *o)
	}
	t.Logf("an order of the damaged SKU, after %s: %v", time.Since(began).Round(time.Millisecond), err)
	levels, err := sh.operator.stock(ctx, "BAD", "GOOD")
	if codeOf(err) != "INTERNAL" || len(levels) != 2 || levels[0] != nil || levels[1] == nil || levels[1].SKU != "GOOD" {
		t.Errorf("the damaged and the other SKU's stock: %v, %v", levels, err)
	}
	eventually(t, soon, "the log", func() error {
		if !strings.Contains(s.stderr.String(), record) {
			return fmt.Errorf("it does not name %q", record)
		}
		return nil
	})
}

// goesOn: the other SKU, the orders of both, and the lists are as ever.
func goesOn(ctx context.Context, t *testing.T, sh *shop, placed []*order) {
	t.Helper()
	shopper := sh.customers[0]
	if o, err := settle(ctx, func() (*order, error) { return shopper.place(ctx, "elsewhere", "tok_ok", want{"GOOD", 2}) }); err != nil || o.State != "CONFIRMED" {
		t.Errorf("an order of the other SKU: %+v, %v", o, err)
	}
	for _, o := range placed {
		if read, err := shopper.order(ctx, o.ID); err != nil || read == nil || read.State != "RESERVED" {
			t.Errorf("order %s: %+v, %v", o.ID, read, err)
		}
	}
	eventually(t, soon, "the list of products", func() error {
		var data struct {
			Products struct{ Edges []struct{ Node product } }
		}
		if err := shopper.ask(ctx, `{products(first:5){edges{node{`+productFields+`}}}}`, nil, &data); err != nil {
			return err
		}
		for _, e := range data.Products.Edges {
			for _, v := range e.Node.Variants {
				if v.SKU == "GOOD" && v.Stock.OnHand == 10 {
					return nil
				}
			}
		}
		return fmt.Errorf("%+v", data.Products)
	})
	if _, err := shopper.register(ctx, "another@mail.test", "nine noisy newts"); err != nil {
		t.Errorf("registering: %v", err)
	}
	eventually(t, soon, "the list of orders", func() error {
		listed, err := sh.operator.orders(ctx, 50)
		if err != nil {
			return err
		}
		if len(listed) < len(placed)+1 {
			return fmt.Errorf("%d orders are listed", len(listed))
		}
		return nil
	})
}

// changeLetter changes a letter of an order's id in the stream's third record,
// in the journal of a stopped server: the record can still be read, but is not
// what was written. It returns the record's number. Again, it changes it back.
func changeLetter(t *testing.T, dir, stream string) (seq int64) {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(dir, "journal.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}()
	var id int64
	var events []byte
	if err := db.QueryRowContext(t.Context(), "SELECT id, seq, events FROM records WHERE stream = ? ORDER BY seq LIMIT 1 OFFSET 2", stream).Scan(&id, &seq, &events); err != nil {
		t.Fatalf("the third record of %s: %v", stream, err)
	}
	at := bytes.Index(events, []byte("ord_"))
	if at < 0 {
		t.Fatalf("record %d of %s names no order: %q", seq, stream, events)
	}
	events[at+10] ^= 1
	result, err := db.ExecContext(t.Context(), "UPDATE records SET events = ? WHERE id = ?", events, id)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := result.RowsAffected(); err != nil || n != 1 {
		t.Fatalf("%d records changed, %v", n, err)
	}
	return seq
}
