package servers

import (
	"fmt"
	"os/exec"
	"path/filepath"
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
