// The definitions of others, of which tests take the YAML and no code: go mod tidy would
// drop them.
module github.com/sallyport-dev/sallyport/test/tools/definitions

go 1.26.0

require (
	github.com/prometheus-operator/prometheus-operator v0.85.0
	sigs.k8s.io/gateway-api v1.6.0
)
