package child_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"stampede/cmd/stampede/internal/child"
)

// The test binary plays the server, as the variable says.
const roleVariable = "CHILD_TEST_ROLE"

func TestMain(m *testing.M) {
	role := os.Getenv(roleVariable)
	if role == "" {
		os.Exit(m.Run())
	}
	ready := func() { fmt.Printf("hello\nready url=http://h:1 admin=http://h:2 kafka=h:3\n") }
	switch role {
	case "polite":
		stop := make(chan os.Signal, 1)
		signal.Notify(stop, syscall.SIGTERM)
		ready()
		<-stop
	case "stubborn":
		signal.Ignore(syscall.SIGTERM)
		ready()
		<-time.After(time.Minute)
	case "broken":
		fmt.Fprintln(os.Stderr, "no such disk")
		os.Exit(3)
	case "mute":
		<-time.After(time.Minute)
	case "watching":
		ready()
		fmt.Fprintln(os.Stderr, os.Getpid())
		io.Copy(io.Discard, os.Stdin)
	case "parent":
		// Starts a server that watches its input, says its pid and is then killed.
		s, err := child.Start(context.Background(), server("watching"))
		if err != nil {
			panic(err)
		}
		for s.Stderr() == "" {
			<-time.After(time.Millisecond)
		}
		fmt.Println(strings.TrimSpace(s.Stderr()))
		<-time.After(time.Minute)
	}
	os.Exit(0)
}

func server(role string) child.Command {
	return child.Command{Path: os.Args[0], Env: append(os.Environ(), roleVariable+"="+role)}
}

func start(t *testing.T, role string) *child.Server {
	t.Helper()
	s, err := child.Start(t.Context(), server(role))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Kill)
	return s
}

func TestStartReadsTheReadyLine(t *testing.T) {
	s := start(t, "polite")
	if s.URL != "http://h:1" || s.Admin != "http://h:2" || s.Kafka != "h:3" {
		t.Errorf("%+v", s)
	}
	if err := s.Stop(10 * time.Second); err != nil {
		t.Error(err)
	}
}

func TestStopKillsWhatDoesNotDrain(t *testing.T) {
	s := start(t, "stubborn")
	err := s.Stop(50 * time.Millisecond)
	if err == nil || !strings.Contains(err.Error(), "was killed") {
		t.Errorf("error %v", err)
	}
	select {
	case <-s.Exited():
	default:
		t.Error("the process is still there")
	}
}

func TestStartSaysWhyAServerEnded(t *testing.T) {
	_, err := child.Start(t.Context(), server("broken"))
	if !errors.Is(err, child.ErrEarlyExit) || !strings.Contains(err.Error(), "no such disk") {
		t.Errorf("error %v", err)
	}
}

func TestStartDoesNotWaitForEver(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := child.Start(ctx, server("mute")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
}

// A parent that dies without a word takes its server along.
func TestTheServerDoesNotOutliveItsParent(t *testing.T) {
	c := server("parent")
	parent := exec.Command(c.Path)
	parent.Env = c.Env
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, 0); err != nil {
		t.Fatalf("the server is not there to begin with: %v", err)
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait() // killed
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.Now().Add(10 * time.Second); ; <-ticker.C {
		if gone(pid) {
			return
		}
		if time.Now().After(deadline) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
			t.Fatal("the server outlived its parent")
		}
	}
}

// gone reports whether a process has ended: it may still be a zombie of init.
func gone(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return true
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && strings.Contains(string(stat), ") Z ")
}
