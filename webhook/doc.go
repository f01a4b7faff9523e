// SPDX-License-Identifier: Apache-2.0

// Package webhook is the admission server: it turns AdmissionReviews into
// inputs of the engine and the engine's results into answers.
//
// A request that could be judged is answered with HTTP 200. What is our fault,
// or the fault of the cluster's state, is answered with HTTP 500 or 503 and
// never with a verdict, so that the failurePolicy of the webhook configuration
// decides. A request that no API server would send is answered with 4xx.
package webhook
