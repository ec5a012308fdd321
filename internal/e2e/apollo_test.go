package e2e

// An ordinary client from npm, whose authors have never heard of us, is content.

import (
	"context"
	"os/exec"
	"regexp"
	"testing"
	"time"
)

var passedTests = regexp.MustCompile(`(?m)^# pass [1-9]`)

func TestApolloClient(t *testing.T) {
	t.Parallel()
	dir := nodePackage(t, "apollo")
	s := serve(t, t.TempDir())
	openShop(t, s, 0, variant{"APOLLO", "19.90", 10}, variant{"LIVE", "1.00", 100})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	node := exec.CommandContext(ctx, "node", "--test", "--test-reporter=tap")
	node.Dir = dir
	node.Env = append(environment(), "STAMPEDE_URL="+s.url, "SKU=APOLLO", "LIVE_SKU=LIVE")
	said, err := node.CombinedOutput()
	if err != nil || !passedTests.Match(said) {
		t.Errorf("%v\n%s", err, said)
	}
	s.stop()
}
