# What a contributor needs. `make` alone lists the targets. Tools are pinned in
# .tools/*.mod and in go.mod's tool lines; Go builds them on first use.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# tool NAME: the pinned NAME of .tools/NAME.mod.
tool = go tool -modfile=.tools/$(1).mod $(1)

# Where make servers puts Node.js when the machine has none.
export PATH := $(CURDIR)/.servers/node/bin:$(PATH)

# More flags for go test, e.g. make test TEST_FLAGS=-v PACKAGES=./actors/...
# GO_TEST is what runs them: .ci/run puts gotestsum there.
GO_TEST ?= go test
TEST_FLAGS ?=
PACKAGES ?= ./...
# More flags for make cluster, e.g. CLUSTER_FLAGS='--nodes 5 --listen 127.0.0.1:0'
CLUSTER_FLAGS ?=
# What runs under the race detector in verify: all that has goroutines. The kinds have none.
RACE_PACKAGES ?= ./actors/entity/... ./cluster/... ./persistence/commitlog/... ./events/... ./gateway/...

.PHONY: help run cluster test test-long test-short race race-packages servers bench
.PHONY: verify lint fmt generate proto-baseline check-fmt check-vet check-proto check-generated check-modules check-dead-code

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

cluster: servers ## three nodes with TLS on a real MongoDB and Kafka, behind a load balancer, without Docker
	@go run ./cmd/stampede dev-cluster $(CLUSTER_FLAGS)

run: ## a whole shop on this machine, with nothing else installed
	@go run ./cmd/stampede dev

test: servers ## every test, with a real MongoDB and a real Kafka: nothing is skipped
	STAMPEDE_REQUIRE_SERVERS=1 $(GO_TEST) -count=1 -timeout=20m $(TEST_FLAGS) $(PACKAGES)

test-long: servers ## what is random, for many more seeds, kills and histories: some minutes
	STAMPEDE_REQUIRE_SERVERS=1 go test -count=1 -timeout=60m ./internal/e2e -skip='^TestCluster$$' -rounds=40 -histories=40
	STAMPEDE_REQUIRE_SERVERS=1 go test -count=1 -timeout=60m ./internal/e2e -run='^TestCluster$$' -cluster-long -cluster-kills=20
	go test -count=1 -timeout=60m ./actors/entity -run=Sim -sim-seeds=20000
	go test -count=1 -timeout=60m ./cluster/membership -run=Sim -sim-seeds=2000
	go test -count=1 -timeout=60m ./internal/faultstore -run=Sim -seeds=2000
	go test -count=1 -timeout=60m ./actors/order -run='Walk|Racing' -walks=50000 -races=10000
	go test -count=1 -timeout=60m ./cluster -run=Moving -moving-seeds=2000
	STAMPEDE_REQUIRE_SERVERS=1 go test -count=1 -timeout=60m ./internal/walk -seeds=2000 -races=10000
	STAMPEDE_REQUIRE_SERVERS=1 go test -count=1 -timeout=60m ./internal/crashpoints -points=0
	STAMPEDE_REQUIRE_SERVERS=1 go test -count=1 -timeout=60m ./events/publisher -run='TestKafka$$|GoesAway' -kills=10 -paused=30s -away=1m
	STAMPEDE_REQUIRE_SERVERS=1 go test -count=1 -timeout=60m ./events/publisher -run=TestKafka/away -away=10m
	go test -count=1 -timeout=60m ./events/publisher -run='ActorsMove|NodesComeAndGo|WhateverBreaks' -seeds=2000

test-short: ## the quick tests alone
	go test -short -timeout=5m $(TEST_FLAGS) $(PACKAGES)

race: ## what runs concurrently, under the race detector
	$(GO_TEST) -race -short -timeout=20m $(TEST_FLAGS) $(RACE_PACKAGES)

race-packages:
	@echo $(RACE_PACKAGES)

servers: ## put a real MongoDB and a real Kafka into .servers/
	@scripts/servers

bench: ## the benchmarks beside what they are compared with, e.g. make bench BENCH=HotSKU COUNT=6
	@scripts/bench

verify: check-fmt check-proto check-modules check-generated check-vet lint check-dead-code race ## everything but make test; needs no network once the tools are built

fmt: ## format every hand-written Go file
	@$(call tool,gofumpt) -l -w .

generate: ## remake the generated code: proto/gen from proto, gateway/graph from the schema
	@$(call tool,buf) generate
	@cd gateway && go tool gqlgen generate
	@$(call tool,gofumpt) -w gateway/resolve # gqlgen rewrites the imports of the resolvers
	@go generate ./...

lint: ## static analysis, see .golangci.yml
	@$(call tool,golangci-lint) run
	@scripts/check-sleeps

check-fmt:
	@unformatted=$$($(call tool,gofumpt) -l .); \
	[[ -z $$unformatted ]] || { printf 'not formatted, run make fmt:\n%s\n' "$$unformatted" >&2; exit 1; }

check-vet:
	@go vet ./...

check-proto:
	@$(call tool,buf) lint
	@$(call tool,buf) format --diff --exit-code
	@$(call tool,buf) build --path=proto/stampede/events -o - | $(call tool,buf) breaking - --against=proto/baseline.binpb --config='{"version":"v2","breaking":{"use":["WIRE_JSON","PACKAGE_MESSAGE_NO_DELETE","FIELD_NO_DELETE"]}}'

proto-baseline: ## when a version is released: its events are what later ones must not break
	@$(call tool,buf) build --path=proto/stampede/events --exclude-source-info -o proto/baseline.binpb

check-generated:
	@scripts/check-generated

check-modules:
	@go mod tidy -diff
	@go mod verify >/dev/null

# The roots are the binary and the tests.
check-dead-code:
	@dead=$$($(call tool,deadcode) -test ./...); \
	[[ -z $$dead ]] || { printf 'unreachable:\n%s\n' "$$dead" >&2; exit 1; }
