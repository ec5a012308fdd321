// Package deploy_test holds the files for operators to the program.
package deploy_test

import (
	"log/slog"
	"os"
	"regexp"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/prometheus/client_golang/prometheus"

	"stampede/events"
	"stampede/events/publisher"
)

// TestAlertsNameMetricsThatThereAre: a rule over a metric that nobody has never fires.
func TestAlertsNameMetricsThatThereAre(t *testing.T) {
	text, err := os.ReadFile("alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	var rules struct {
		Groups []struct {
			Name  string
			Rules []struct {
				Alert, Expr string
				For         string
				Labels      map[string]string
				Annotations map[string]string
			}
		}
	}
	if err := yaml.Unmarshal(text, &rules); err != nil {
		t.Fatal(err)
	}
	described := describe(t)
	metric := regexp.MustCompile(`stampede_[a-z_]+`)
	seen := 0
	for _, group := range rules.Groups {
		for _, rule := range group.Rules {
			seen++
			names := metric.FindAllString(rule.Expr, -1)
			if rule.Alert == "" || len(names) == 0 || rule.Labels["severity"] == "" || rule.Annotations["summary"] == "" || rule.Annotations["description"] == "" {
				t.Errorf("rule %q is not complete", rule.Alert)
			}
			for _, name := range names {
				if !described[name] {
					t.Errorf("%s: there is no metric %s", rule.Alert, name)
				}
			}
		}
	}
	if seen == 0 {
		t.Error("there are no rules")
	}
}

// describe is the names of the metrics of a publisher.
func describe(t *testing.T) map[string]bool {
	registry := &noting{Registry: prometheus.NewRegistry(), names: map[string]bool{}}
	_, err := publisher.New(publisher.Config{
		Brokers: []string{"127.0.0.1:1"}, Registerer: registry, Logger: slog.New(slog.DiscardHandler), Follow: func(string) events.Source { return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	return registry.names
}

// noting is a registry that notes the names of what is registered.
type noting struct {
	*prometheus.Registry
	names map[string]bool
}

var fqName = regexp.MustCompile(`fqName: "([^"]+)"`)

func (n *noting) note(c prometheus.Collector) {
	descs := make(chan *prometheus.Desc, 64)
	c.Describe(descs)
	close(descs)
	for d := range descs {
		if m := fqName.FindStringSubmatch(d.String()); m != nil {
			n.names[m[1]] = true
		}
	}
}

func (n *noting) Register(c prometheus.Collector) error {
	n.note(c)
	return n.Registry.Register(c)
}

func (n *noting) MustRegister(cs ...prometheus.Collector) {
	for _, c := range cs {
		n.note(c)
	}
	n.Registry.MustRegister(cs...)
}
