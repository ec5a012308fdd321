package main

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"stampede/cmd/stampede/internal/shop"
)

// A warehouse's commands reach the stock, each once: every one is sent twice,
// and the program is killed with SIGKILL in the middle of them.
func TestCommandsFromKafka(t *testing.T) {
	directory := t.TempDir()
	env := []string{adminPasswordEnv + "=correct horse battery"}
	args := []string{"serve", "--data-dir=" + directory, "--bootstrap-admin=boss@shop.example", "--kafka-commands"}
	s := serve(t, env, args...)
	client := shop.NewClient(s.url, "")
	var err error
	if client.Token, err = client.LogIn(t.Context(), "boss@shop.example", "correct horse battery"); err != nil {
		t.Fatal(err)
	}
	const skus, each = 5, 60
	product := shop.Product{Slug: "one", Name: "One"}
	names := make([]string, skus)
	for i := range names {
		names[i] = fmt.Sprint("ONE-", i)
		product.Variants = append(product.Variants, shop.Variant{SKU: names[i], Price: shop.Money{Amount: "1.00", Currency: "EUR"}, Stock: 7})
	}
	if err := client.CreateProduct(t.Context(), "key", product); err != nil {
		t.Fatal(err)
	}
	var commands []kafka.Message
	for n := range each {
		for _, sku := range names {
			m := kafka.Message{Key: []byte(sku), Value: fmt.Appendf(nil, `{"sku":%q,"delta":1,"reason":"delivery %d"}`, sku, n)}
			for _, h := range [][2]string{{"ce_specversion", "1.0"}, {"ce_source", "/wms/" + sku}, {"ce_id", fmt.Sprint(n)}, {"ce_type", "stampede.AdjustStock"}} {
				m.Headers = append(m.Headers, kafka.Header{Key: h[0], Value: []byte(h[1])})
			}
			commands = append(commands, m, m)
		}
	}
	send := func(messages []kafka.Message) {
		t.Helper()
		w := &kafka.Writer{Addr: kafka.TCP(s.kafka), Topic: "stampede.commands.v1", Balancer: kafka.Murmur2Balancer{}, RequiredAcks: kafka.RequireAll, BatchTimeout: time.Millisecond, MaxAttempts: 50}
		defer w.Close()
		if err := w.WriteMessages(t.Context(), messages...); err != nil {
			t.Fatal(err)
		}
	}
	taken := func() string {
		response, err := http.Get(s.admin + "/metrics")
		if err != nil {
			return ""
		}
		defer response.Body.Close()
		text, _ := io.ReadAll(response.Body)
		return string(text)
	}
	wait := func(what string, ok func() bool) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); !ok(); <-time.After(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s: not within a minute\n%s", what, s.stderr)
			}
		}
	}
	wait("the partitions are taken", func() bool { return strings.Contains(taken(), "stampede_commands_partitions 12") })
	send(commands[:len(commands)/2])
	wait("the first are done", func() bool { return strings.Contains(taken(), "stampede_commands_handled_total") })
	if err := s.cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = s.cmd.Wait() // it was killed

	s = serve(t, env, args...)
	send(commands[len(commands)/2:])
	levels := func() map[string]int {
		got, err := shop.NewClient(s.url, "").Stock(t.Context(), names)
		if err != nil {
			t.Fatal(err)
		}
		out := map[string]int{}
		for sku, l := range got {
			out[sku] = l.Available
		}
		return out
	}
	wait("all are done", func() bool {
		for _, n := range levels() {
			if n < 7+each {
				return false
			}
		}
		return true
	})
	for sku, n := range levels() {
		if n != 7+each {
			t.Errorf("%s has %d, want %d", sku, n, 7+each)
		}
	}
	if status := s.stop(t, syscall.SIGTERM); status != 0 {
		t.Errorf("SIGTERM: status %d\n%s", status, s.stderr)
	}
}
