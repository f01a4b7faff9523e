// SPDX-License-Identifier: Apache-2.0

// Package deploy holds what the chart renders against what the code needs and against the
// files in deploy that are made of it.
package deploy

//go:generate go test -run ^TestGenerated$ -update .
