.DEFAULT_GOAL := help
MAKEFLAGS += --warn-undefined-variables --no-builtin-rules
SHELL := bash
.SHELLFLAGS := -euo pipefail -c

tool = go tool -modfile=test/tools/$(1)/go.mod

##@ Use
.PHONY: build
build: ## Build the binary into bin/.
	CGO_ENABLED=0 go build -trimpath -o bin/ ./cmd/...
IMAGE ?= ghcr.io/sallyport-dev/sallyport
PLATFORMS ?= linux/$(shell go env GOARCH)
VERSION ?= $(shell git describe --tags --always --dirty)
revision = $(shell git rev-parse HEAD)
# To publish: PLATFORMS=linux/amd64,linux/arm64 IMAGE_OUTPUT="--push --sbom=true --provenance=mode=max"
IMAGE_OUTPUT ?= --load
.PHONY: image
image: ## Build the image IMAGE:VERSION for PLATFORMS with Docker and load it.
	docker buildx build --platform=$(PLATFORMS) --build-arg=VERSION=$(VERSION) --build-arg=REVISION=$(revision) \
	  --tag=$(IMAGE):$(VERSION) $(IMAGE_OUTPUT) .
# Needs no engine; to publish: KO_OUTPUT=--push
KO_OUTPUT ?= --push=false --oci-layout-path=bin/image
.PHONY: image-ko
image-ko: ## Build the image with ko, for all platforms, into bin/image.
	KO_CONFIG_PATH=deploy KO_DOCKER_REPO=$(IMAGE) VERSION=$(VERSION) $(call tool,ko) ko build --bare --tags=$(VERSION) --image-user=65532:65532 \
	  --image-label=org.opencontainers.image.source=https://github.com/sallyport-dev/sallyport,org.opencontainers.image.version=$(VERSION),org.opencontainers.image.revision=$(revision) \
	  $(KO_OUTPUT) ./cmd/sallyport
.PHONY: demo
demo: setup build ## Watch a real API server refuse and complete the samples, then play with it.
	go run ./test/demo

##@ Develop
.PHONY: setup
setup: ## Get etcd, kube-apiserver and kubectl; built once where they cannot be downloaded.
	@go run ./test/cluster/fetch
.PHONY: test
test: setup ## Run all tests, those with the real API server and a short fuzz included.
	go test -race ./...
	cd test/tools/sarif && go test -count=1 ./... # what it reads is outside its module
	$(MAKE) --no-print-directory fuzz FUZZTIME=20000x
	$(MAKE) --no-print-directory observability
	$(MAKE) --no-print-directory certmanager
	$(MAKE) --no-print-directory image-test
	$(MAKE) --no-print-directory dataplane
.PHONY: observability
observability: ## Hold the dashboard and the alerts against what is really exposed.
	cd test/observability && go test -count=1 -vet=off ./... # what it reads is outside its module
.PHONY: certmanager
certmanager: ## Prove with cert-manager's own controllers what its mode does.
	cd test/certmanager && go test -vet=off ./...
.PHONY: image-test
image-test: ## Prove that the image needs nothing but itself and no privilege; builds for two architectures.
	cd test/image && go test -vet=off -count=1 -timeout 40m ./... # what it reads is outside its module
# On two cores; give it GOFLAGS=-p=1 where memory is short. Vetting Istio
# costs more than it finds, and lint vets the tests.
.PHONY: dataplane
dataplane: ## Prove with istiod what routes do; five minutes of building, once.
	cd test/dataplane && go test -vet=off ./...
# A count, not a time: until Go 1.27 a run that ends by time may fail without a finding (go.dev/issue/75804).
FUZZTIME ?= 1000000x
.PHONY: fuzz
fuzz: ## Fuzz everything that parses, FUZZTIME runs each (1000000x).
	@for package in $$(go list ./rules/... ./webhook); do \
	  for target in $$(go test -list '^Fuzz' $$package | grep '^Fuzz' || true); do \
	    go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 2s $$package; \
	  done; \
	done
.PHONY: bench
bench: setup ## Measure rules and handlers, the latency through the real API server, and checking files.
	go test -run '^$$' -bench . -benchmem ./rules/... ./webhook/... ./certs/...
	go run ./test/bench
	go run ./test/bench/files
.PHONY: lint
lint: ## Run the linters.
	$(call tool,lint) golangci-lint run
	$(call tool,actions) actionlint deploy/ci/github/workflow.yml
	cd test/dataplane && go tool -modfile=../tools/lint/go.mod golangci-lint run --config=../../.golangci.yaml
	cd test/certmanager && go tool -modfile=../tools/lint/go.mod golangci-lint run --config=../../.golangci.yaml
	cd test/observability && go tool -modfile=../tools/lint/go.mod golangci-lint run --config=../../.golangci.yaml
	cd test/image && go tool -modfile=../tools/lint/go.mod golangci-lint run --config=../../.golangci.yaml
	cd test/tools/sarif && go tool -modfile=../lint/go.mod golangci-lint run --config=../../../.golangci.yaml
.PHONY: fmt
fmt: ## Format and modernize the code.
	go fix ./...
	$(call tool,lint) golangci-lint fmt
	cd test/dataplane && go tool -modfile=../tools/lint/go.mod golangci-lint fmt --config=../../.golangci.yaml
	cd test/certmanager && go tool -modfile=../tools/lint/go.mod golangci-lint fmt --config=../../.golangci.yaml
	cd test/observability && go tool -modfile=../tools/lint/go.mod golangci-lint fmt --config=../../.golangci.yaml
	cd test/image && go tool -modfile=../tools/lint/go.mod golangci-lint fmt --config=../../.golangci.yaml
	cd test/tools/sarif && go tool -modfile=../lint/go.mod golangci-lint fmt --config=../../../.golangci.yaml
.PHONY: generate
generate: ## Write everything that is generated.
	go generate ./...
.PHONY: verify
verify: generate ## Check that nothing generated is out of date.
	go mod tidy -diff
	cd test/dataplane && go mod tidy -diff
	cd test/certmanager && go mod tidy -diff
	cd test/observability && go mod tidy -diff
	cd test/image && go mod tidy -diff
	cd test/tools/sarif && go mod tidy -diff
	test -z "$$(git status --porcelain)" || { git status --short; git diff; exit 1; }

##@ Help
.PHONY: help
help: ## Show this help.
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} \
	  /^[a-z-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
