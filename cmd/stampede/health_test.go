package main

import (
	"bytes"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestHealth(t *testing.T) {
	status := http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/readyz" { // as a public address is: its storefront is well whatever the node is
			http.NotFound(w, r)
			return
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte(`{"phase":"draining"}`))
	}))
	defer server.Close()
	checkAt := func(path string) (int, string) {
		var out bytes.Buffer
		code := run(t.Context(), []string{"health", "--url=" + server.URL + path}, streams{in: strings.NewReader(""), out: &out, err: &out})
		return code, out.String()
	}
	check := func() (int, string) { return checkAt("/readyz") }
	for _, base := range []string{"/readyz", "", "/"} {
		if code, said := checkAt(base); code != exitOK || said != "{\"phase\":\"draining\"}\n" {
			t.Errorf("a ready node, asked at %q: %d %q", base, code, said)
		}
	}
	if code, said := checkAt("/nosuch"); code != exitFailed || !strings.Contains(said, "--admin-listen") {
		t.Errorf("a page that is not there: %d %q", code, said)
	}
	status = http.StatusServiceUnavailable
	if code, said := check(); code != exitFailed || !strings.Contains(said, "503") || !strings.Contains(said, "draining") {
		t.Errorf("a node that is not ready: %d %q", code, said)
	}
	server.Close()
	if code, said := check(); code != exitFailed || !strings.Contains(said, "refused") {
		t.Errorf("no node: %d %q", code, said)
	}
	var wrong faults
	if _, err := parseFor(t, nil, "health", "--url=readyz", "--timeout=0s"); !errors.As(err, &wrong) || !wrong.has("url") || !wrong.has("timeout") {
		t.Errorf("got %v", err)
	}
}

// The operator's password can be in a file, as containers are given secrets.
func TestPasswordFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("correct horse battery\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"STAMPEDE_BOOTSTRAP_ADMIN_PASSWORD_FILE": file}
	p, err := parseFor(t, env, "serve", "--bootstrap-admin=a@b.example")
	if err != nil {
		t.Fatal(err)
	}
	if got := p.command.(*serveCmd).bootPassword; got != "correct horse battery" {
		t.Errorf("the password has %d bytes", len(got))
	}
	for _, c := range []struct{ file, admin, want string }{
		{file + "x", "a@b.example", "--bootstrap-admin-password-file: "},
		{file, "", "--bootstrap-admin: --bootstrap-admin-password-file is given, but not whose password it is"},
		{os.DevNull, "a@b.example", "--bootstrap-admin: needs the password in " + os.DevNull},
	} {
		_, err := parseFor(t, map[string]string{"STAMPEDE_BOOTSTRAP_ADMIN_PASSWORD_FILE": c.file}, "serve", "--bootstrap-admin="+c.admin)
		var wrong faults
		if !errors.As(err, &wrong) || len(wrong) != 1 || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

func TestAdvertisedHostname(t *testing.T) {
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	got, err := (&clusterFlags{ClusterAdvertise: "{hostname}.nodes:8082"}).advertise()
	if err != nil || got != host+".nodes:8082" {
		t.Errorf("got %q, %v", got, err)
	}
}
