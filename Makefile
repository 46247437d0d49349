# Tollgate. `make` lists the targets. Everything is built into build/, which git ignores.

GO        ?= go
BUILD     := build
GOROOT    := $(shell $(GO) env GOROOT)
WASM      := $(BUILD)/tollgate.wasm
# The same filter on an unpatched Go runtime: a test shows how it dies on Envoy 1.33's host.
UNPATCHED := $(BUILD)/tollgate-unpatched.wasm
WASM_MAX  := 4000000
BINARIES  := $(BUILD)/tollgate $(BUILD)/wasmproxy $(BUILD)/demo

STATICCHECK_VERSION := v0.8.2
STATICCHECK         := $(BUILD)/bin/staticcheck-$(STATICCHECK_VERSION)

WASM_BUILD := GOOS=wasip1 GOARCH=wasm $(GO) build -buildmode=c-shared -trimpath -ldflags='-s -w'

# The folder of the SDK's module, a copy of which is patched for the filter; a package is asked for, so that it is downloaded.
SDK_FOLDER := $(GO) list -f '{{.Module.Dir}}' github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm

.DEFAULT_GOAL := help
.PHONY: help build wasm unpatched run test race bench check format vet staticcheck imports tidy clean-tree clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# Go decides what is out of date; every build target runs and is cheap when nothing changed.
build: wasm ## build the filter, the control plane, wasmproxy and the demo
	$(GO) build -o $(BUILD)/tollgate ./controlplane
	$(GO) build -o $(BUILD)/wasmproxy ./testenv/cmd/wasmproxy
	$(GO) build -o $(BUILD)/demo ./testenv/cmd/demo

wasm: ## build the filter: build/tollgate.wasm
	$(GO) run ./plugin/internal/overlay -goroot '$(GOROOT)' -module . \
		-sdk "$$($(SDK_FOLDER))" -out $(BUILD)/overlay
	$(WASM_BUILD) -modfile $(BUILD)/overlay/go.mod -overlay $(BUILD)/overlay/overlay.json -o $(WASM) ./plugin
	@size=$$(wc -c < $(WASM)); if [ $$size -gt $(WASM_MAX) ]; then \
		echo "$(WASM) has $$size bytes, more than $(WASM_MAX)" >&2; exit 1; fi

unpatched:
	$(WASM_BUILD) -o $(UNPATCHED) ./plugin

run: build ## start control plane, upstream and proxy, and print curl lines to try
	@exec $(BUILD)/demo

test: build unpatched ## build everything and run all tests
	$(GO) test -timeout 20m ./...

race: build unpatched ## the same under the race detector
	$(GO) test -race -timeout 20m ./...

bench: wasm ## measure everything: testenv/bench/RESULTS.md
	$(GO) run ./testenv/bench -wasm $(WASM)

check: format vet staticcheck imports tidy race ## format, vet, staticcheck, imports, go.mod, tests under -race, clean tree
	@$(MAKE) --no-print-directory clean-tree

format:
	@out=$$(gofmt -l controlplane plugin testenv) || exit 1; if [ -n "$$out" ]; then \
		echo "not gofmt-ed:"; echo "$$out"; exit 1; fi

vet:
	$(GO) vet ./...
	GOOS=wasip1 GOARCH=wasm $(GO) vet ./plugin/...

$(STATICCHECK):
	GOBIN='$(CURDIR)/$(BUILD)/bin' $(GO) install honnef.co/go/tools/cmd/staticcheck@$(STATICCHECK_VERSION)
	mv $(BUILD)/bin/staticcheck $@

staticcheck: $(STATICCHECK)
	$(STATICCHECK) ./...

imports: ## who may import whom, and what may lie at the top level (design.md §3)
	bash .ci/imports

tidy:
	$(GO) mod tidy -diff
	$(GO) mod verify >/dev/null

clean-tree:
	@out=$$(git status --porcelain) || exit 1; if [ -n "$$out" ]; then \
		echo "the tree is not clean:"; echo "$$out"; exit 1; fi

clean: ## remove build/
	rm -rf $(BUILD)
