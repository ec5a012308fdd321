package main

// stampede member list and drain, against a node of a cluster that runs.

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"stampede/cmd/stampede/internal/shop"
	"stampede/internal/testservers"
)

func TestMemberNamed(t *testing.T) {
	id := "mem_" + strings.Repeat("a", 26)
	all := []shop.Member{
		{ID: "mem_1", Name: "one", State: "UP"},
		{ID: "mem_0", Name: "one", State: "DOWN"},
		{ID: "mem_2", Name: "two", State: "UP"},
		{ID: "mem_3", Name: "two", State: "DRAINING"},
		{ID: "mem_4", Name: "gone", State: "DOWN"},
		{ID: "mem_5", Name: id[:29], State: "JOINING"},
	}
	for named, want := range map[string]struct{ id, fault string }{
		"one":   {id: "mem_1"},
		id:      {id: id}, // whether there is one is the server's to say
		id[:29]: {id: "mem_5"},
		"two":   {fault: `2 members are called "two": mem_2, mem_3; give an id`},
		"gone":  {fault: `no member is called "gone"`},
		"One":   {fault: `no member is called "One"`},
		"mem_1": {fault: `no member is called "mem_1"`},
	} {
		got, err := memberNamed(all, named)
		if got != want.id || (err == nil) != (want.fault == "") || err != nil && !strings.Contains(err.Error(), want.fault) {
			t.Errorf("%q is %q, %v; want %+v", named, got, err, want)
		}
	}
}

func TestMemberCommands(t *testing.T) {
	if testing.Short() {
		t.Skip("starts several nodes")
	}
	mongo, kafka := testservers.Mongo(t), testservers.Kafka(t)
	t.Setenv(playVariable, "1") // the nodes are this program
	f, err := startFleet(t.Context(), fleetConfig{
		nodes: 2, directory: t.TempDir(), mongo: secretURI(mongo), database: "members", kafka: []string{kafka}, admin: "boss@shop.example",
		more: []string{"--drain-for=0s"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.stop(); err != nil {
			t.Error(err)
		}
	})
	password, err := f.secrets.ReadPassword()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(staffPasswordEnv, password)
	ask := func(want int, args ...string) (stdout, stderr string) {
		t.Helper()
		var out, failure bytes.Buffer
		args = append([]string{"member"}, append(args, "--url="+f.nodes[0].URL, "--staff-email=boss@shop.example")...)
		if status := run(t.Context(), args, streams{in: strings.NewReader(""), out: &out, err: &failure}); status != want {
			t.Fatalf("%v: status %d\n%s\n%s", args, status, &out, &failure)
		}
		return out.String(), failure.String()
	}
	list := func() map[string]shop.Member {
		t.Helper()
		stdout, _ := ask(exitOK, "list", "--json")
		var all []shop.Member
		if err := json.Unmarshal([]byte(stdout), &all); err != nil {
			t.Fatal(err, stdout)
		}
		named := map[string]shop.Member{}
		for _, m := range all {
			named[m.Name] = m
		}
		return named
	}
	before := list()
	if len(before) != 2 || before["node-1"].State != "UP" || before["node-2"].State != "UP" || before["node-2"].Address == "" {
		t.Fatalf("members: %+v", before)
	}
	table, _ := ask(exitOK, "list")
	if lines := strings.Split(strings.TrimSpace(table), "\n"); len(lines) != 3 || strings.Join(strings.Fields(lines[0]), " ") != "ID NAME ADDRESS STATE SINCE VERSION ACTORS" ||
		!strings.Contains(table, before["node-1"].ID) || !strings.Contains(table, before["node-2"].Address) {
		t.Errorf("table:\n%s", table)
	}
	if _, stderr := ask(exitFailed, "drain", "node-3"); !strings.Contains(stderr, `no member is called "node-3"`) {
		t.Errorf("draining one that is not there: %s", stderr)
	}
	leaving := before["node-2"].ID
	f.nodes[1].leaves = true
	if said, _ := ask(exitOK, "drain", "node-2", "--wait=2m"); said != leaving+" drains\n"+leaving+" has left\n" {
		t.Errorf("drain said %q", said)
	}
	// It says so when the others know it, which is before its process has ended.
	if after := list(); after["node-1"].State != "UP" || after["node-2"].State != "DOWN" || after["node-2"].ID != leaving {
		t.Errorf("members after the drain: %+v", after)
	}
	<-f.nodes[1].Exited()
}
