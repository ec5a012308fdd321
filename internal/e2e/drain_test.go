package e2e

// SIGTERM: what was accepted is answered, nobody is left in the dark, and the
// process ends with status 0.

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A request whose body has come half when SIGTERM does is answered when the
// other half has come; meanwhile the node says that it is not ready, and takes
// no new connection.
func TestDrainAnswersWhatItHasAccepted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := serve(t, dir)
	sh := openShop(t, s, 1, variant{"ONE", "1.00", 10})
	if status := readiness(t, s); status != http.StatusOK {
		t.Fatalf("readyz says %d before the drain", status)
	}
	body := `{"query":"mutation{placeOrder(input:{idempotencyKey:\"half\",lines:[{sku:\"ONE\",quantity:1}]}){order{id state} userErrors{code}}}"}`
	address := strings.TrimPrefix(s.url, "http://")
	connection, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	if err := connection.SetDeadline(time.Now().Add(stopWithin)); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(connection, "POST /graphql HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n",
		address, sh.customers[0].token, len(body))
	answers := bufio.NewReader(connection)
	if line, err := answers.ReadString('\n'); err != nil || !strings.Contains(line, "100 Continue") {
		t.Fatalf("the server does not wait for the body: %q, %v", line, err)
	}
	if _, err := io.WriteString(connection, body[:len(body)/2]); err != nil {
		t.Fatal(err)
	}
	s.terminate()
	eventually(t, soon, "the drain shows", func() error {
		if status := readiness(t, s); status != http.StatusServiceUnavailable {
			return fmt.Errorf("readyz says %d", status)
		}
		other, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			other.Close()
			return errors.New("it still takes connections")
		}
		return nil
	})
	select {
	case <-s.exited:
		t.Fatalf("the server ended with a request open: %v", s.err)
	default:
	}
	if _, err := io.WriteString(connection, body[len(body)/2:]); err != nil {
		t.Fatal(err)
	}
	if _, err := answers.ReadString('\n'); err != nil { // the empty line after 100 Continue
		t.Fatal(err)
	}
	response, err := http.ReadResponse(answers, nil)
	if err != nil {
		t.Fatalf("the accepted request: %v", err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	var data struct{ PlaceOrder orderPayload }
	if err := judge(response.StatusCode, answer, &data); err != nil || data.PlaceOrder.Order == nil || data.PlaceOrder.Order.State != "RESERVED" {
		t.Fatalf("the accepted request: %s, %v", answer, err)
	}
	s.ended()
	s = serve(t, dir)
	sh.at.set(s)
	if o, err := sh.customers[0].order(t.Context(), data.PlaceOrder.Order.ID); err != nil || o == nil || o.State != "RESERVED" {
		t.Errorf("after the restart the order is %+v, %v", o, err)
	}
	s.stop()
}

// readiness is the status of /readyz; 0 when there is no answer.
func readiness(t *testing.T, s *server) int {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.admin+"/readyz", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0
	}
	response.Body.Close()
	return response.StatusCode
}

// SIGTERM in mid-traffic: of what was decided, nothing was left unanswered. A
// unit that is held afterwards belongs to somebody who was told so.
func TestDrainInMidTraffic(t *testing.T) {
	t.Parallel()
	const initial, clients = 20_000, 32
	dir := t.TempDir()
	s := serve(t, dir)
	sh := openShop(t, s, enoughCustomers, variant{"HOT", "1.00", initial})
	var mu sync.Mutex
	told := map[string]*order{}
	var accepted, turnedAway atomic.Int64
	var over sync.WaitGroup
	random := randomness(t)
	over.Go(func() {
		together(t, clients, random, func(ctx context.Context, client int, _ *rand.Rand) error {
			c := sh.customers[client%enoughCustomers]
			for n := 0; ; n++ {
				key := fmt.Sprintf("c%d-%d", client, n)
				o, err := c.place(ctx, key, "", want{"HOT", 1})
				switch {
				case err == nil:
					mu.Lock()
					told[key] = o
					mu.Unlock()
					accepted.Add(1)
				case errors.Is(err, errLater):
					turnedAway.Add(1)
				default: // the server has gone
					return nil
				}
			}
		})
	})
	eventually(t, soon, "traffic", func() error {
		if n := accepted.Load(); n < 300 {
			return fmt.Errorf("%d orders", n)
		}
		return nil
	})
	s.stop()
	over.Wait()
	s = serve(t, dir)
	sh.at.set(s)
	if l := sh.level(t, "HOT"); l.Held != len(told) {
		t.Errorf("%d orders were acknowledged, and %d units are held: the difference was accepted and not answered", len(told), l.Held)
	}
	t.Logf("%d orders acknowledged, %d told to come later", len(told), turnedAway.Load())
	s.checkPublished()
	s.stop()
}
