package testservers

import (
	"testing"

	"stampede/internal/servers"
)

// KafkaClient returns the java on this machine and the class path of Kafka's own
// client, for tests that compare with it.
func KafkaClient(t testing.TB) (java, classPath string) {
	t.Helper()
	java, classPath, err := servers.KafkaClient()
	if err != nil {
		giveUp(t, "Kafka's own client", "put Java 17 on PATH and run `make servers`", err)
	}
	return java, classPath
}

// KafkaTools is KafkaClient where Kafka's command-line tools are on the class
// path, too.
func KafkaTools(t testing.TB) (java, classPath string) {
	t.Helper()
	java, classPath, err := servers.KafkaTools()
	if err != nil {
		giveUp(t, "Kafka's command-line tools", "put Java 17 on PATH and run `make servers`", err)
	}
	return java, classPath
}
