// SPDX-License-Identifier: Apache-2.0

// Package sarif validates what sallyport writes as SARIF. It is a module of its
// own, since the program needs neither the schema nor what reads it.
package sarif
