// SPDX-License-Identifier: Apache-2.0

// Package certmanager proves what package certs does with cert-manager: its own
// controllers and cainjector run in the tests, from its Go module, against a real
// API server that calls webhooks.
package certmanager
