# Everything here but netns runs as an ordinary user, on loopback only.
GO ?= go
STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2
PLATFORMS = linux/amd64 darwin/arm64 windows/amd64

# Rooms with concurrency or unsafe sharing to find; the pure rooms would only be slower.
RACE = . ./crdt ./internal/feed ./internal/task ./internal/store ./internal/p2p ./keystore/... ./sync/... ./collabtest

.PHONY: build test race lint cross long fuzz simulate properties quickstart scenarios netns conformance

build:
	CGO_ENABLED=0 $(GO) build ./...

test:
	$(GO) test ./...

race:
	$(GO) test -race $(RACE)

# The attacks that the project knows, one line each; see internal/testbed/scenario.
scenarios:
	$(GO) run ./internal/testbed/scenario/report -p=1 ./...

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

# Two people in two network namespaces, over QUIC, over TCP and over neither. Root, iproute2 and nftables; else it says
# why it skips.
netns:
	$(GO) build -o bin/quickstart ./examples/quickstart
	$(GO) run ./internal/testbed/netns bin/quickstart

# What takes longer: each fuzz target for FUZZTIME, SEEDS simulations of twelve nodes, then every test under the race
# detector in a random order.
FUZZTIME ?= 10s
SEEDS ?= 50
long: fuzz simulate conformance properties
	$(GO) test -race -shuffle=on -count=1 ./...

# Random histories of governance: CASES of them, each received in ORDERS orders, from seed FROM on, those of up to MODEL
# events replayed by the slow reference too, for at most TIME (0: to the end). `make test` does 300 x 5.
CASES ?= 10000
ORDERS ?= 20
FROM ?= 1
MODEL ?= 40
TIME ?= 0
properties:
	$(GO) test ./governance -run '^TestProperties$$' -count=1 -v -timeout 12h -cases $(CASES) -orders $(ORDERS) -seed $(FROM) \
		-model $(MODEL) -time $(TIME)

# A seed that fails is repeated by: go test ./collabtest -run TestSimulation -v -seed N
simulate:
	$(GO) test ./collabtest -run '^TestSimulation$$' -count=1 -v -timeout 60m -seeds $(SEEDS)

fuzz:
	@for dir in $$($(GO) list -f '{{.Dir}}' ./...); do \
		for target in $$(grep -ho 'func Fuzz[A-Za-z0-9_]*' $$dir/*_test.go 2>/dev/null | cut -c6-); do \
			echo "fuzz $$dir $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1x $$dir || exit 1; \
		done; \
	done

# Package crdt against real Yjs, by scenarios that SEED makes new: recorded ones (levels L1 to L5) and live sessions.
# Needs Node 20, and once the npm registry.
SEED ?= 1
YJS_TOOLS = testdata/yjs/tools
conformance:
	@cd $(YJS_TOOLS) && { [ -d node_modules ] || npm ci --no-audit --no-fund; }
	@dir=$$(mktemp -d) && trap 'rm -rf "$$dir"' EXIT && \
		(cd $(YJS_TOOLS) && node sets.mjs "$$dir" $(SEED) 48 && node extras.mjs "$$dir/extras" $(SEED)) && \
		COLLAB_YJS_FIXTURES="$$dir" COLLAB_CONFORMANCE_SEED=$(SEED) \
			$(GO) test -count=1 -v -run 'TestYjs|TestLiveConformance' ./crdt
