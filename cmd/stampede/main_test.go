package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"stampede/cmd/stampede/internal/shop"

	"stampede/internal/testservers"
)

// The test binary is the program when this is set. Its name does not begin with
// STAMPEDE_, so that the demo hands it on to its server.
const playVariable = "TEST_PLAYS_STAMPEDE"

func TestMain(m *testing.M) {
	if os.Getenv(playVariable) != "" {
		main()
		return
	}
	testservers.Main(m)
}

// program is the program as a process of its own, without Stampede's variables
// from outside.
func program(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	for _, one := range os.Environ() {
		if !strings.HasPrefix(one, envPrefix+"_") {
			cmd.Env = append(cmd.Env, one)
		}
	}
	cmd.Env = append(cmd.Env, playVariable+"=1")
	return cmd
}

// outcome runs the program to its end.
func outcome(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := program(ctx, args...)
	var out, err bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &err
	failure := cmd.Run()
	if cmd.ProcessState == nil {
		t.Fatal(failure)
	}
	return cmd.ProcessState.ExitCode(), out.String(), err.String()
}

// A taken port is said with the flag that gives another.
func TestTakenPorts(t *testing.T) {
	var lc net.ListenConfig
	taken, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, flag := range []string{"listen", "admin-listen", "kafka-listen"} {
		args := []string{"serve", "--data-dir=" + t.TempDir()}
		for _, other := range []string{"listen", "admin-listen", "kafka-listen"} {
			address := "127.0.0.1:0"
			if other == flag {
				address = taken.Addr().String()
			}
			args = append(args, "--"+other+"="+address)
		}
		status, _, stderr := outcome(t, args...)
		if status != 1 || !strings.Contains(stderr, "address already in use; choose another with --"+flag+":") {
			t.Errorf("--%s: status %d: %s", flag, status, stderr)
		}
	}
}

func TestExitStatuses(t *testing.T) {
	file := t.TempDir() + "/file"
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args   string
		status int
		stdout string
		stderr string
	}{
		{"--help", 0, "Usage: stampede <command>", ""},
		{"", 0, "Usage: stampede <command>", ""},
		{"serve --help", 0, "--data-dir=DIR", ""},
		{"dev --help", 0, "$STAMPEDE_LISTEN", ""},
		{"demo --help", 0, "--crash", ""},
		{"bench --help", 0, "--lane=LANE", ""},
		{"version", 0, " go1.", ""},
		{"--version", 0, "stampede ", ""},
		{"config check", 0, "has no faults", ""},
		{"config check --hold-minutes=x --listen=y", 2, "--listen", "2 faults"},
		{"serve --hold-minutes=x --listen=y", 2, "", "2 faults"},
		{"serve --nonsense", 2, "", "unknown flag --nonsense"},
		{"sell", 2, "", "unexpected argument sell"},
		{"bench --lane=read --url=http://127.0.0.1:1 --duration=1s --customers=1", 1, "", "connection refused"},
		{"serve --listen=127.0.0.1:0 --admin-listen=127.0.0.1:0 --kafka-listen=127.0.0.1:0 --data-dir=" + file + "/below", 1, "", "not a directory"},
	} {
		status, stdout, stderr := outcome(t, strings.Fields(c.args)...)
		if status != c.status || !strings.Contains(stdout, c.stdout) || !strings.Contains(stderr, c.stderr) {
			t.Errorf("%q: status %d, want %d\nstdout: %s\nstderr: %s", c.args, status, c.status, stdout, stderr)
		}
	}
}

// running is a server that a test started.
type running struct {
	url, admin, kafka string
	greeting          string
	cmd               *exec.Cmd
	stderr            *bytes.Buffer
	rest              io.Reader
}

var readyLine = regexp.MustCompile(`^ready url=(http://\S+) admin=(http://\S+) kafka=(\S+)$`)

// serve starts a server on free ports and waits until it is ready.
func serve(t *testing.T, env []string, args ...string) *running {
	t.Helper()
	args = append(args, "--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0", "--kafka-listen=127.0.0.1:0")
	cmd := program(t.Context(), args...)
	cmd.Env = append(cmd.Env, env...)
	s := &running{cmd: cmd, stderr: &bytes.Buffer{}}
	cmd.Stderr = s.stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	})
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			_ = cmd.Wait()
			t.Fatalf("no ready line: %v\n%s", err, s.stderr)
		}
		if found := readyLine.FindStringSubmatch(strings.TrimSpace(line)); found != nil {
			s.url, s.admin, s.kafka, s.rest = found[1], found[2], found[3], lines
			return s
		}
		s.greeting += line
	}
}

// stop sends a signal and returns the exit status.
func (s *running) stop(t *testing.T, signal os.Signal) int {
	t.Helper()
	if err := s.cmd.Process.Signal(signal); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(s.rest)
	if err != nil || len(rest) > 0 {
		t.Errorf("after the ready line came %q, %v", rest, err)
	}
	_ = s.cmd.Wait() // its status says how it ended
	return s.cmd.ProcessState.ExitCode()
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

// A node serves what the contract says, drains on a signal, and finds
// everything again at its next start.
func TestServe(t *testing.T) {
	directory := t.TempDir()
	env := []string{adminPasswordEnv + "=correct horse battery"}
	args := []string{"serve", "--data-dir=" + directory, "--bootstrap-admin=boss@shop.example"}
	first := serve(t, env, args...)
	for path, holds := range map[string]string{"/livez": `"alive":true`, "/readyz": `"store":"ok"`, "/metrics": "stampede_", "/debug/pprof/": "goroutine"} {
		if status, body := get(t, first.admin+path); status != 200 || !strings.Contains(body, holds) {
			t.Errorf("%s: %d %.200s", path, status, body)
		}
	}
	if status, body := get(t, first.url+"/.well-known/jwks.json"); status != 200 || !strings.Contains(body, "OKP") {
		t.Errorf("jwks: %d %s", status, body)
	}
	if _, body := get(t, first.url+"/metrics"); strings.Contains(body, "stampede_") {
		t.Errorf("metrics are public: %.200s", body)
	}
	// Introspection is for dev alone.
	response, err := http.Post(first.url+"/graphql", "application/json", strings.NewReader(`{"query":"{__schema{types{name}}}"}`))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if body, _ := io.ReadAll(response.Body); strings.Contains(string(body), `"types"`) {
		t.Errorf("introspection is on: %.200s", body)
	}
	client := shop.NewClient(first.url, "")
	if client.Token, err = client.LogIn(t.Context(), "boss@shop.example", "correct horse battery"); err != nil {
		t.Fatal(err)
	}
	product := shop.Product{Slug: "one", Name: "One", Variants: []shop.Variant{{SKU: "ONE", Price: shop.Money{Amount: "1.00", Currency: "EUR"}, Stock: 7}}}
	if err := client.CreateProduct(t.Context(), "key", product); err != nil {
		t.Fatal(err)
	}
	// A second process in the same directory is refused by name.
	status, _, stderr := outcome(t, append(args[:2:2], "--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0", "--kafka-listen=127.0.0.1:0")...)
	if status != 1 || !strings.Contains(stderr, directory) || !strings.Contains(stderr, "in use by another process") {
		t.Errorf("a second process: %d %s", status, stderr)
	}
	if status := first.stop(t, syscall.SIGTERM); status != 0 {
		t.Errorf("SIGTERM: status %d\n%s", status, first.stderr)
	}

	second := serve(t, env, args...)
	levels, err := shop.NewClient(second.url, "").Stock(t.Context(), []string{"ONE"})
	if err != nil || levels["ONE"].Available != 7 {
		t.Errorf("after a restart: %+v, %v", levels, err)
	}
	if status := second.stop(t, syscall.SIGINT); status != 0 {
		t.Errorf("SIGINT: status %d\n%s", status, second.stderr)
	}
}

// dev is a shop to look at: the catalogue is there, the operator's password is
// said once, and a second start neither says it nor makes anything again.
func TestDev(t *testing.T) {
	directory := t.TempDir()
	first := serve(t, nil, "dev", "--data-dir="+directory)
	found := regexp.MustCompile(`operator +admin@stampede\.test +password (\S+) +\(shown this once\)`).FindStringSubmatch(first.greeting)
	if found == nil || !strings.Contains(first.greeting, first.kafka) || !strings.Contains(first.greeting, "24 sample products") {
		t.Fatalf("greeting:\n%s", first.greeting)
	}
	client := shop.NewClient(first.url, "")
	if _, err := client.LogIn(t.Context(), devAdmin, found[1]); err != nil {
		t.Error(err)
	}
	slugs := eventually(t, func() ([]string, bool) {
		slugs, err := client.Slugs(t.Context(), 100)
		if err != nil {
			t.Fatal(err)
		}
		return slugs, len(slugs) == 24
	})
	levels, err := client.Stock(t.Context(), []string{"NOVA-LE", "INS-SQ-RED"})
	if err != nil || levels["NOVA-LE"].Available != 500 || levels["INS-SQ-RED"].OnHand != 0 {
		t.Errorf("stock: %+v, %v", levels, err)
	}
	for path, holds := range map[string]string{"/sample/" + slugs[0] + ".svg": "<svg", "/": "<!doctype html>", "/console": "<!doctype html>"} {
		if status, body := get(t, first.url+path); status != 200 || !strings.Contains(strings.ToLower(body), holds) {
			t.Errorf("%s: %d %.100s", path, status, body)
		}
	}
	if status := first.stop(t, syscall.SIGTERM); status != 0 {
		t.Errorf("status %d\n%s", status, first.stderr)
	}
	second := serve(t, nil, "dev", "--data-dir="+directory)
	if strings.Contains(second.greeting, "shown this once") || strings.Contains(second.greeting, "sample products were made") {
		t.Errorf("second greeting:\n%s", second.greeting)
	}
	if _, err := shop.NewClient(second.url, "").LogIn(t.Context(), devAdmin, found[1]); err != nil {
		t.Error(err)
	}
}

// eventually asks until the answer is right: views follow the journal by a
// moment.
func eventually[T any](t *testing.T, ask func() (T, bool)) T {
	t.Helper()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.Now().Add(time.Minute)
	for {
		answer, ok := ask()
		if ok {
			return answer
		}
		if time.Now().After(deadline) {
			t.Fatalf("still %v", answer)
		}
		<-ticker.C
	}
}

// The whole demo, with and without a crash, small.
func TestDemo(t *testing.T) {
	if testing.Short() {
		t.Skip("runs whole sales")
	}
	for name, flags := range map[string]func(t *testing.T) []string{
		"embedded": func(*testing.T) []string { return nil },
		"several SKUs, protobuf": func(*testing.T) []string {
			return []string{"--skus=3", "--events-format=protobuf"}
		},
		"crash": func(*testing.T) []string { return []string{"--crash"} },
		"crash on MongoDB and Kafka": func(t *testing.T) []string {
			return []string{"--crash", "--mongo=" + testservers.Mongo(t), "--kafka=" + testservers.Kafka(t)}
		},
	} {
		t.Run(name, func(t *testing.T) {
			args := append([]string{"demo", "--units=60", "--shoppers=400", "--concurrency=32", "--json"}, flags(t)...)
			status, stdout, stderr := outcome(t, args...)
			lines := strings.Split(strings.TrimSpace(stdout), "\n")
			var got struct {
				Units, Shoppers, Accepted, Refused, Oversold, Lost, Duplicates, EventsMissing, Crashes int
				Conserved                                                                              bool
				OrdersPerSecond, P50Ms, P99Ms, P999Ms                                                  float64
			}
			if err := json.Unmarshal([]byte(lines[len(lines)-1]), &got); err != nil {
				t.Fatalf("%v\n%s\n%s", err, stdout, stderr)
			}
			crashes := strings.Count(strings.Join(args, " "), "--crash")
			if status != 0 || got.Accepted != 60 || got.Refused != 340 || got.Oversold+got.Lost+got.Duplicates+got.EventsMissing != 0 || !got.Conserved || got.Crashes != crashes {
				t.Errorf("status %d, %+v\n%s", status, got, stderr)
			}
			if got.OrdersPerSecond <= 0 || got.P50Ms <= 0 || got.P99Ms < got.P50Ms || got.P999Ms < got.P99Ms {
				t.Errorf("speed: %+v", got)
			}
			if !strings.Contains(stderr, "The proof holds.") || !strings.Contains(stderr, "shoppers served: 100 %") {
				t.Errorf("what people read:\n%s", stderr)
			}
		})
	}
}

// A demo that is interrupted, or killed, leaves neither its server nor (if it
// was asked) its data behind.
func TestAnInterruptedDemoLeavesNothing(t *testing.T) {
	for name, signal := range map[string]os.Signal{"interrupted": os.Interrupt, "killed": os.Kill} {
		t.Run(name, func(t *testing.T) {
			directory := t.TempDir()
			cmd := program(t.Context(), "demo", "--units=50000", "--shoppers=200000")
			cmd.Env = append(cmd.Env, "TMPDIR="+directory)
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			greeting, err := bufio.NewReader(out).ReadString('\n')
			found := regexp.MustCompile(`\(pid (\d+)\)`).FindStringSubmatch(greeting)
			if found == nil {
				_ = cmd.Process.Kill()
				t.Fatalf("%q, %v", greeting, err)
			}
			server, err := strconv.Atoi(found[1])
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Process.Signal(signal); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait() // its status says how it ended
			eventually(t, func() (int, bool) { return server, gone(server) })
			if signal != os.Interrupt {
				return
			}
			if status := cmd.ProcessState.ExitCode(); status != exitFailed {
				t.Errorf("status %d", status)
			}
			if left, err := os.ReadDir(directory); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}

// gone reports whether a process has ended; it may still be a zombie that
// nobody has asked about.
func gone(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return true
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && strings.Contains(string(stat), ") Z ")
}

// bench loads a server that is already there.
func TestBench(t *testing.T) {
	keys := t.TempDir()
	s := serve(t, nil, "serve", "--data-dir="+t.TempDir(), "--signing-keys="+keys)
	for _, lane := range []string{"place", "read"} {
		status, stdout, stderr := outcome(t, "bench", "--url="+s.url, "--signing-keys="+keys, "--duration=1s", "--concurrency=8", "--skus=3", "--lane="+lane, "--json")
		var got benchResult
		if err := json.Unmarshal([]byte(stdout), &got); err != nil || status != 0 {
			t.Fatalf("status %d, %v\n%s\n%s", status, err, stdout, stderr)
		}
		if got.Accepted == 0 || len(got.Failed) > 0 || len(got.Refused) > 0 || got.Answered != got.Accepted || got.P50Ms <= 0 {
			t.Errorf("%s: %+v", lane, got)
		}
	}
	if levels, err := shop.NewClient(s.url, "").Stock(t.Context(), []string{"nothing"}); err != nil || len(levels) != 0 {
		t.Errorf("%v, %v", levels, err)
	}
}

// A second signal does not wait for the drain.
func TestASecondSignalEndsAtOnce(t *testing.T) {
	s := serve(t, nil, "serve", "--data-dir="+t.TempDir())
	// A request under way holds the drain up: the server has asked for its body, which never comes.
	read, write := io.Pipe()
	defer write.Close()
	underWay := make(chan struct{})
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got100Continue: func() { close(underWay) }})
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+"/graphql", read)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("content-type", "application/json")
	request.Header.Set("expect", "100-continue")
	client := &http.Client{Transport: &http.Transport{ExpectContinueTimeout: time.Minute}}
	go func() { // it never gets an answer
		if response, err := client.Do(request); err == nil {
			response.Body.Close()
		}
	}()
	select {
	case <-underWay:
	case <-time.After(time.Minute):
		t.Fatal("the server does not read the request's body")
	}
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() (int, bool) {
		response, err := http.Get(s.admin + "/readyz")
		if err != nil {
			return 0, true
		}
		defer response.Body.Close()
		return response.StatusCode, response.StatusCode == 503
	})
	second := time.Now()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = s.cmd.Wait() // its status says how it ended
	}()
	for waiting := true; waiting; { // one that comes with the first is taken for the same
		_ = s.cmd.Process.Signal(syscall.SIGTERM) // fails only when it has ended
		select {
		case <-ended:
			waiting = false
		case <-time.After(100 * time.Millisecond):
		}
	}
	if took := time.Since(second); took >= closeHTTPFor || s.cmd.ProcessState.ExitCode() != 1 {
		t.Errorf("took %s, status %d", took, s.cmd.ProcessState.ExitCode())
	}
}
