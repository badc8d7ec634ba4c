# Everything here but netns runs as an ordinary user, on loopback only.
GO ?= go
STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2
PLATFORMS = linux/amd64 darwin/arm64 windows/amd64

# Rooms with concurrency or unsafe sharing to find; the pure rooms would only be slower.
RACE = . ./collabtest ./sync/... ./crdt ./internal/feed ./internal/task ./internal/store ./internal/p2p ./keystore/...

.PHONY: build test test-real race lint cross long fuzz simulate properties documents quickstart ceremony scenarios netns conformance hostile bench-crdt

build:
	CGO_ENABLED=0 $(GO) build ./...

test:
	$(GO) test ./...

# What needs a real keychain and a real card reader service: installs them (Debian, root), says what it ran, fails if
# anything was skipped.
test-real:
	GO=$(GO) .ci/real

# The scenarios, mostly of whole nodes, take as long again as all else; `make long` has them. The longest packages come
# first, so that both cores are busy to the end.
race:
	$(GO) test -race -timeout 20m -skip '^(TestScenario|TestReadme|Example)' $(RACE)

# The attacks that the project knows, one line each; see internal/testbed/scenario.
scenarios:
	COLLAB_ORDERS=1000 $(GO) run ./internal/testbed/scenario/report -p=1 ./...

lint:
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then echo "gofmt wants: $$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(GO) run $(STATICCHECK) ./...

# The core needs no cgo on any system.
cross:
	@for p in $(PLATFORMS); do echo "build $$p"; \
		CGO_ENABLED=0 GOOS=$${p%/*} GOARCH=$${p#*/} $(GO) build ./... || exit 1; \
		CGO_ENABLED=0 GOOS=$${p%/*} GOARCH=$${p#*/} $(GO) vet ./... || exit 1; done

quickstart:
	$(GO) run ./examples/quickstart

# One person's master key: made, tried, lost in part and in whole, and made anew; with parts that are thrown away.
ceremony:
	$(GO) run ./examples/ceremony -demo

# Two people in two network namespaces, over QUIC, over TCP and over neither. Root, iproute2 and nftables; else it says
# why it skips.
netns:
	$(GO) build -o bin/quickstart ./examples/quickstart
	$(GO) run ./internal/testbed/netns bin/quickstart

# What takes longer: each fuzz target for FUZZTIME, SEEDS simulations of twelve nodes, SEEDS (or ten) seeds against real
# Yjs, a hundred thousand mutated sets of shares, ceremonies killed at each step of each step, then every test under the
# race detector in a random order.
FUZZTIME ?= 10s
SEEDS ?= 50
long: CONFORMANCE_SEEDS = $(if $(filter file,$(origin SEEDS)),10,$(SEEDS))
long: fuzz simulate conformance properties documents
	COLLAB_LONG=1 $(GO) test -count=1 -v -timeout 120m -run 'Mutated|Killed' ./genesis/...
	$(GO) test -race -shuffle=on -count=1 -timeout 60m ./...

# Random histories of governance of up to 200 events: CASES of them, each received in ORDERS orders, from seed FROM on, those
# of up to MODEL events and one in SAMPLE of the greater ones replayed by the slow reference too, for at most TIME (0: to the
# end). `make test` does 300 x 5.
CASES ?= 10000
ORDERS ?= 20
FROM ?= 1
MODEL ?= 40
SAMPLE ?= 50
TIME ?= 0
properties:
	$(GO) test ./governance -run '^TestProperties$$' -count=1 -v -timeout 12h -cases $(CASES) -orders $(ORDERS) -seed $(FROM) \
		-model $(MODEL) -sample $(SAMPLE) -time $(TIME)

# Documents as a function of governance: HISTORIES random ones, each received in ORDERS orders, from seed FROM on.
# `make test` does 300 x 5.
HISTORIES ?= 2000
documents:
	$(GO) test ./sync/journal -run '^TestDocuments$$' -count=1 -v -timeout 12h -cases $(HISTORIES) -orders $(ORDERS) -seed $(FROM)

# A seed that fails is repeated by: go test ./collabtest -run TestSimulation -v -seed N
simulate:
	$(GO) test ./collabtest -run '^Test(Governed)?Simulation$$' -count=1 -v -timeout 90m -seeds $(SEEDS)

fuzz:
	@for dir in $$($(GO) list -f '{{.Dir}}' ./...); do \
		for target in $$(grep -ho 'func Fuzz[A-Za-z0-9_]*' $$dir/*_test.go 2>/dev/null | cut -c6-); do \
			echo "fuzz $$dir $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1x $$dir || exit 1; \
		done; \
	done

# Input made to break package crdt, on a machine that does nothing else: outcome, at most 100 ms and 32 MB each.
hostile:
	COLLAB_QUIET=1 $(GO) test ./crdt -run '^TestHostileFiles$$' -count=1

# Package crdt against real Yjs, by scenarios that a seed makes new: recorded ones (levels L1 to L5) and live sessions.
# One seed unless SEEDS says how many, counting from SEED; each makes SCENARIOS of both.
# Needs Node 20, and once the npm registry.
SEED ?= 1
SCENARIOS ?= 24
CONFORMANCE_SEEDS = $(if $(filter file,$(origin SEEDS)),1,$(SEEDS))
YJS_TOOLS = testdata/yjs/tools
conformance:
	@cd $(YJS_TOOLS) && { [ -d node_modules ] || npm ci --no-audit --no-fund; }
	@tmp=$$(mktemp -d) && trap 'rm -rf "$$tmp"' EXIT && $(GO) test -c -o "$$tmp/judge" ./crdt && failed= && \
	for seed in $$(seq $(SEED) $$(($(SEED) + $(CONFORMANCE_SEEDS) - 1))); do \
		rm -rf "$$tmp/set"; \
		(cd $(YJS_TOOLS) && node sets.mjs "$$tmp/set" $$seed $(SCENARIOS) && node extras.mjs "$$tmp/set/extras" $$seed) >"$$tmp/log" || \
			{ cat "$$tmp/log"; exit 1; }; \
		if (cd crdt && COLLAB_YJS_FIXTURES="$$tmp/set" COLLAB_CONFORMANCE_SEED=$$seed COLLAB_CONFORMANCE_SESSIONS=$(SCENARIOS) \
			"$$tmp/judge" -test.run '^(TestYjs|TestLive)') >"$$tmp/log" 2>&1; \
		then echo "seed $$seed:" $$(grep -v PASS "$$tmp/log"); \
		else cat "$$tmp/log"; failed="$$failed $$seed"; fi; \
	done; \
	[ -z "$$failed" ] || { echo "Yjs disagrees; again with make conformance SEED=N for N in$$failed"; exit 1; }

# Package crdt against real Yjs, on the clock: the traces in the folder COLLAB_TRACES, or one that is made up. RUNS is
# odd. Needs Node 20, and once the npm registry.
RUNS ?= 5
bench-crdt:
	@command -v node >/dev/null && command -v npm >/dev/null || { echo "bench-crdt needs Node 20 and npm"; exit 1; }
	@cd $(YJS_TOOLS) && { [ -d node_modules ] || npm ci --no-audit --no-fund; }
	@$(GO) run ./internal/testbed/crdtbench -tools $(YJS_TOOLS) -runs $(RUNS)
