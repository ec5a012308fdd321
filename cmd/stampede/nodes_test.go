package main

// The demo with several nodes, and make cluster, on a real MongoDB and Kafka.

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"stampede/cmd/stampede/internal/child"
	"stampede/internal/testservers"
)

func TestDemoOnSeveralNodes(t *testing.T) {
	if testing.Short() {
		t.Skip("starts several nodes")
	}
	mongo, kafka := testservers.Mongo(t), testservers.Kafka(t)
	status, stdout, stderr := outcome(t, "demo", "--nodes=3", "--kill=1", "--drain=1", "--units=60", "--shoppers=400", "--concurrency=16", "--json", "--mongo="+mongo, "--kafka="+kafka)
	var got struct {
		Accepted, Refused, Oversold, Lost, Duplicates, EventsMissing, Crashes, Nodes, Drained int
		Conserved, Holds                                                                      bool
		LongestGapMs                                                                          float64
	}
	if err := json.Unmarshal([]byte(stdout), &got); err != nil {
		t.Fatalf("status %d, %v\n%s\n%s", status, err, stdout, stderr)
	}
	if status != 0 || !got.Holds || !got.Conserved || got.Accepted != 60 || got.Refused != 340 || got.Nodes != 3 || got.Crashes != 1 || got.Drained != 1 || got.LongestGapMs <= 0 {
		t.Errorf("status %d: %+v\n%s", status, got, stderr)
	}
}

func TestNodesOfTheDemo(t *testing.T) {
	for args, want := range map[string]string{
		"--nodes=0":                    "--nodes: is 0",
		"--nodes=3 --kill=2 --drain=1": "--nodes: is 3, but 3 are killed or drained; one at least has to stay",
		"--kill=1":                     "--nodes: is 1, but 1 are killed",
		"--nodes=2 --kill=-1":          "--kill: is -1",
		"--nodes=2 --crash":            "--crash: restarts the one server",
	} {
		_, err := parseFor(t, nil, append([]string{"demo"}, strings.Fields(args)...)...)
		var wrong faults
		if !errors.As(err, &wrong) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", args, err, want)
		}
	}
}

// make cluster opens a shop behind its load balancer, and ends when it is told
// to.
func TestDevCluster(t *testing.T) {
	if testing.Short() {
		t.Skip("starts several nodes")
	}
	mongo, kafka := testservers.Mongo(t), testservers.Kafka(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	program := program(ctx)
	cluster, err := child.Start(ctx, child.Command{Path: os.Args[0], Env: program.Env, Args: []string{"dev-cluster", "--nodes=2", "--listen=127.0.0.1:0", "--mongo=" + mongo, "--kafka=" + kafka}})
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Kill()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, cluster.URL+"/graphql", strings.NewReader(`{"query":"{products(first:1){edges{node{name}}}}"}`))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var got struct {
		Data struct {
			Products struct {
				Edges []any `json:"edges"`
			} `json:"products"`
		} `json:"data"`
	}
	if err := json.NewDecoder(answer.Body).Decode(&got); err != nil || answer.StatusCode != http.StatusOK || len(got.Data.Products.Edges) != 1 {
		t.Errorf("%s: %+v, %v", answer.Status, got, err)
	}
	if err := cluster.Stop(serverStopTimeout); err != nil {
		t.Error(err)
	}
}
