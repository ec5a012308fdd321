package main

import (
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	composefile "github.com/compose-spec/compose-go/v2/cli"

	"stampede/cmd/stampede/internal/secrets"
)

// What docker-compose.yml and the Dockerfile tell a node is a configuration
// without faults, and every variable of it means something.
func TestContainersAreConfigured(t *testing.T) {
	options, err := composefile.NewProjectOptions([]string{"../../docker-compose.yml"}, composefile.WithName("stampede"))
	if err != nil {
		t.Fatal(err)
	}
	project, err := options.LoadProject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	made := project.Services["secrets"].Command
	init, err := parseFor(t, nil, made...)
	if err != nil {
		t.Fatalf("%q: %v", made, err)
	}
	folder := init.command.(*secretsInitCmd).Directory
	here := t.TempDir()
	if _, err := secrets.Ensure(here, init.command.(*secretsInitCmd).ServerName, time.Now()); err != nil {
		t.Fatal(err)
	}
	env := imageEnv(t)
	node := project.Services["stampede"]
	for name, value := range node.Environment {
		env[name] = strings.Replace(*value, folder, here, 1)
	}
	p, err := parseFor(t, env, "config", "check")
	if err != nil {
		t.Fatal(err)
	}
	check := p.command.(*configCheckCmd)
	if len(check.faults) > 0 {
		t.Error(check.faults)
	}
	read := map[string]bool{}
	for _, one := range check.settings {
		read[one.source] = true
	}
	for name := range env {
		if !read[name] {
			t.Errorf("nothing reads %s", name)
		}
	}
	if got, want := check.ClusterTLSServerName, init.command.(*secretsInitCmd).ServerName; got != want {
		t.Errorf("nodes ask for %q, the certificate names %q", got, want)
	}
	if _, err := parseFor(t, nil, node.HealthCheck.Test[2:]...); err != nil {
		t.Errorf("health check %q: %v", node.HealthCheck.Test, err)
	}
}

// imageEnv is what the Dockerfile sets.
func imageEnv(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile("../../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	env := map[string]string{}
	for _, one := range regexp.MustCompile(`(STAMPEDE_[A-Z_]+)=(\S+)`).FindAllStringSubmatch(string(text), -1) {
		env[one[1]] = one[2]
	}
	if len(env) == 0 {
		t.Fatal("the Dockerfile sets nothing")
	}
	return env
}
