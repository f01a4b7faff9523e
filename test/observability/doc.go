// SPDX-License-Identifier: Apache-2.0

// Package observability holds the dashboard and the alerts of the chart against what the
// binary and a real API server expose, with Prometheus' own parser, rules and engine.
package observability
