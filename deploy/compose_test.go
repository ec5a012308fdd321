package deploy_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
)

// compose reads ../docker-compose.yml as docker compose config does: against the
// schema, with its variables and its references resolved.
func compose(t *testing.T) *types.Project {
	t.Helper()
	options, err := cli.NewProjectOptions([]string{"../docker-compose.yml"}, cli.WithName("stampede"), cli.WithEnv([]string{"STAMPEDE_PORT=18080"}))
	if err != nil {
		t.Fatal(err)
	}
	project, err := options.LoadProject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return project
}

// TestComposeStartsInOrder: everything waits for what it needs to be well.
func TestComposeStartsInOrder(t *testing.T) {
	project := compose(t)
	wants := map[string]map[string]string{
		"mongo-init": {"mongo": types.ServiceConditionHealthy},
		"stampede": {
			"mongo": types.ServiceConditionHealthy, "mongo-init": types.ServiceConditionCompletedSuccessfully,
			"kafka": types.ServiceConditionHealthy, "secrets": types.ServiceConditionCompletedSuccessfully,
		},
		"balancer": {"stampede": types.ServiceConditionHealthy},
	}
	for name, service := range project.Services {
		if len(service.DependsOn) != len(wants[name]) {
			t.Errorf("%s depends on %v, want %v", name, service.DependsOn, wants[name])
		}
		for on, condition := range wants[name] {
			if got := service.DependsOn[on].Condition; got != condition {
				t.Errorf("%s waits for %s to be %q, want %q", name, on, got, condition)
			}
		}
		ends := service.Restart == "no"
		if checked := service.HealthCheck != nil && !service.HealthCheck.Disable; checked == ends {
			t.Errorf("%s: ends by itself: %v, has a health check: %v", name, ends, checked)
		}
	}
}

// TestComposeScales: a node has nothing that there can be only one of.
func TestComposeScales(t *testing.T) {
	node := compose(t).Services["stampede"]
	if node.ContainerName != "" || node.Hostname != "" || len(node.Ports) > 0 {
		t.Errorf("container %q, host %q, ports %v", node.ContainerName, node.Hostname, node.Ports)
	}
	if node.Deploy == nil || node.Deploy.Replicas == nil || *node.Deploy.Replicas != 3 {
		t.Errorf("deploy is %+v, want three replicas", node.Deploy)
	}
	for network, given := range node.Networks {
		if given != nil && (given.Ipv4Address != "" || len(given.Aliases) > 0) {
			t.Errorf("in %s it has %+v", network, given)
		}
	}
	for _, volume := range node.Volumes {
		if !volume.ReadOnly {
			t.Errorf("all nodes write to %s", volume.Target)
		}
	}
}

// TestComposeIsolates: only the balancer is reached from outside, and only on
// loopback; what nodes share is told to nobody else.
func TestComposeIsolates(t *testing.T) {
	project := compose(t)
	if !project.Networks["inside"].Internal {
		t.Error("the network inside is open")
	}
	for name, service := range project.Services {
		_, outside := service.Networks["outside"]
		if (outside || len(service.Ports) > 0) != (name == "balancer") {
			t.Errorf("%s: outside %v, ports %v", name, outside, service.Ports)
		}
		for _, volume := range service.Volumes {
			if volume.Source == "secrets" && name != "stampede" && name != "secrets" {
				t.Errorf("%s has the secrets", name)
			}
		}
		for variable, value := range service.Environment {
			if strings.Contains(variable, "PASSWORD") && !strings.HasSuffix(variable, "_FILE") && value != nil {
				t.Errorf("%s has %s in its environment, where everyone can read it", name, variable)
			}
		}
		if ours := slices.Contains([]string{"stampede", "secrets"}, name); ours && (!service.ReadOnly || !slices.Contains(service.CapDrop, "ALL")) {
			t.Errorf("%s may more than it needs", name)
		}
	}
	for _, port := range project.Services["balancer"].Ports {
		if port.HostIP != "127.0.0.1" || port.Published != "18080" {
			t.Errorf("published at %s:%s", port.HostIP, port.Published)
		}
	}
}

// TestImagesArePinned: the same file starts the same thing tomorrow.
func TestImagesArePinned(t *testing.T) {
	exact := regexp.MustCompile(`^[a-z/]+:\d+\.\d+\.\d+`)
	for name, service := range compose(t).Services {
		if service.Build == nil && !exact.MatchString(service.Image) {
			t.Errorf("%s runs %s", name, service.Image)
		}
	}
	text, err := os.ReadFile("../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	bases := regexp.MustCompile(`(?m)^FROM (\S+)`).FindAllStringSubmatch(string(text), -1)
	if len(bases) != 2 || !exact.MatchString(bases[0][1]) || bases[1][1] != "scratch" {
		t.Errorf("built from %q", bases)
	}
	if !regexp.MustCompile(`(?m)^USER [1-9]`).Match(text) {
		t.Error("the image runs as root")
	}
}
