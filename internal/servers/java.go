package servers

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
)

// KafkaClient returns the java on this machine and the class path of Kafka's own
// client, for tests that compare with it.
func KafkaClient() (java, classPath string, err error) {
	libs, err := fetchedFile(kafkaHome, "libs")
	if err != nil {
		return "", "", err
	}
	java, err = exec.LookPath("java")
	if err != nil {
		return "", "", fmt.Errorf("%w: no java on PATH", ErrAbsent)
	}
	return java, filepath.Join(libs, "*"), nil
}

// KafkaTools is KafkaClient where Kafka's command-line tools are on the class
// path, too. A folder that was fetched by an older make servers lacks them.
func KafkaTools() (java, classPath string, err error) {
	if _, err := fetchedFile(kafkaHome, "libs", strings.Replace(kafkaHome, "kafka-", "kafka-tools-", 1)+".jar"); err != nil {
		return "", "", err
	}
	return KafkaClient()
}
