package testservers

import (
	"syscall"
	"testing"

	"stampede/internal/servers"
)

const (
	kafkaName     = "Kafka"
	kafkaVariable = "STAMPEDE_TEST_KAFKA"
)

// Kafka returns the bootstrap address of a Kafka that this test binary shares:
// one KRaft broker, or what STAMPEDE_TEST_KAFKA names. It creates no topic by
// itself; each test should use topics and groups of its own.
func Kafka(t testing.TB) string {
	t.Helper()
	return obtain(t, kafkaName, kafkaVariable, &shared.kafka, func() (string, *servers.Process, error) {
		k, err := servers.StartKafka()
		if err != nil {
			return "", nil, err
		}
		return k.Address, k.Process, nil
	})
}

// KafkaServer is a broker that belongs to one test. Its methods are for the
// test's goroutine.
type KafkaServer struct {
	t     testing.TB
	kafka *servers.Kafka
}

// KafkaProcess starts a broker that ends with the test. It never is the one
// that STAMPEDE_TEST_KAFKA names.
func KafkaProcess(t testing.TB) *KafkaServer {
	t.Helper()
	k, err := servers.StartKafka()
	if err != nil {
		giveUp(t, "a Kafka of its own", "put Java 17 and Maven on PATH and run `make servers`", err)
	}
	t.Cleanup(k.Discard)
	return &KafkaServer{t, k}
}

// Address is the bootstrap address; it stays the same over Restart.
func (k *KafkaServer) Address() string { return k.kafka.Address }

// Kill ends the broker with SIGKILL and waits until it has gone.
func (k *KafkaServer) Kill() { k.kafka.Kill() }

// Stop ends the broker in an orderly way and waits until it has gone.
func (k *KafkaServer) Stop() { k.kafka.Signal(syscall.SIGTERM) }

// Pause stops the broker where it is, as a machine that hangs would: its
// connections stay open and nothing is answered.
func (k *KafkaServer) Pause() { k.send(syscall.SIGSTOP) }

// Resume lets a paused broker go on.
func (k *KafkaServer) Resume() { k.send(syscall.SIGCONT) }

func (k *KafkaServer) send(s syscall.Signal) {
	k.t.Helper()
	if err := k.kafka.Send(s); err != nil {
		k.t.Fatalf("%v to %s: %v", s, kafkaName, err)
	}
}

// Restart starts the broker again on its data and its port, and waits until it
// answers.
func (k *KafkaServer) Restart() {
	k.t.Helper()
	if err := k.kafka.Restart(); err != nil {
		k.t.Fatalf("restarting %s: %v", kafkaName, err)
	}
}
