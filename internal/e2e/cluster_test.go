package e2e

// A cluster of processes under load, treated as operators and the world treat
// it. Each scenario ends with the same judgement: see verify.
//
//	go test ./internal/e2e -run=TestCluster                          # the short form
//	go test ./internal/e2e -run=TestCluster -cluster-long            # everything
//	go test ./internal/e2e -run=TestCluster/StepDown -cluster-long -v
//	go test ./internal/e2e -run=TestCluster/OwnerKilled -cluster-kills=20 -v

import (
	"flag"
	"testing"
	"time"
)

var (
	clusterLong  = flag.Bool("cluster-long", false, "also the scenarios of a cluster that take long")
	clusterKills = flag.Int("cluster-kills", 2, "how many times the hot SKU's owner is killed")
)

// lease is how long a member's lease lasts.
const lease = 3 * time.Second

// scenarios are what happens to a cluster. The short form leaves out the long ones.
func scenarios() []scenario {
	return []scenario{
		{"OwnerKilled", false, clusterOwnerKilled},
		{"OwnerFrozen", false, clusterOwnerFrozen},
		{"ReadsAfterTheLease", false, clusterReadsAfterTheLease},
		{"RolesAndCertificates", true, clusterRolesAndCertificates},
		{"Drain", false, clusterDrain},
		{"Scales", true, clusterScales},
		{"CutOffFromMongo", true, clusterCutOffFromMongo},
		{"CutOffOneWay", true, clusterCutOffOneWay},
		{"CutInTwo", true, clusterCutInTwo},
		{"SlowMongo", true, clusterSlowMongo},
		{"MongoKilled", true, clusterMongoKilled},
		{"StepDown", true, clusterStepDown},
		{"Clocks", true, clusterClocks},
		{"RollingUpgrade", true, clusterRollingUpgrade},
	}
}

type scenario struct {
	name string
	long bool
	run  func(*testing.T)
}

func TestCluster(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute")
	}
	for _, s := range scenarios() {
		if s.long && !*clusterLong {
			continue
		}
		t.Run(s.name, s.run)
	}
}

// The owner of the hot SKU is killed under load, again and again.
func clusterOwnerKilled(t *testing.T) {
	f := startFleet(t, 3)
	l := newLoad(t, f, 100, 100_000)
	l.start(12)
	var gaps []time.Duration
	for range *clusterKills {
		l.more(60)
		l.gap()
		owner := f.owner("sku", l.hot)
		f.kill(owner)
		l.more(200)
		gap, why := l.gap()
		gaps = append(gaps, gap)
		t.Logf("longest wait over the kill: %s: %s", gap.Round(time.Millisecond), why)
		f.again(owner)
		f.settled()
	}
	report(t, "SIGKILL of the hot SKU's owner", gaps)
	l.verify()
	l.recovered()
}
