package testservers

import "golang.org/x/sys/unix"

// Fill leaves the broker no room: from now on no file of its grows, as on a disk
// or a quota that is full. It gives up its log and ends, as Kafka does.
func (k *KafkaServer) Fill() {
	k.t.Helper()
	pid, err := k.kafka.Pid()
	if err == nil {
		err = unix.Prlimit(pid, unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: 0, Max: unix.RLIM_INFINITY}, nil)
	}
	if err != nil {
		k.t.Fatalf("leaving %s no room: %v", kafkaName, err)
	}
}

// MakeRoom waits until the broker has given up, and starts it again with room.
func (k *KafkaServer) MakeRoom() {
	k.t.Helper()
	if err := k.kafka.Ended(); err != nil {
		k.t.Fatalf("%s without room: %v", kafkaName, err)
	}
	k.Restart()
}
