package e2e

// The description of the events, as the reference parser of its format sees it.

import (
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stampede/events/cloudevents"
	"stampede/events/inbound"
)

func TestAsyncAPIParser(t *testing.T) {
	t.Parallel()
	dir := nodePackage(t, "asyncapi")
	document, err := filepath.Abs("../../docs/events/asyncapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	topics := []string{inbound.TopicCommands, inbound.TopicDead}
	for _, topic := range cloudevents.Topics() {
		topics = append(topics, topic.Name)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	node := exec.CommandContext(ctx, "node", "--test", "--test-reporter=tap")
	node.Dir = dir
	node.Env = append(environment(), "ASYNCAPI_FILE="+document, "TOPICS="+strings.Join(topics, ","))
	said, err := node.CombinedOutput()
	if err != nil || !passedTests.Match(said) {
		t.Errorf("%v\n%s", err, said)
	}
}
