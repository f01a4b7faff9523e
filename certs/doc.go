// SPDX-License-Identifier: Apache-2.0

// Package certs provides the certificate that the webhook server serves, and
// makes the API server trust it.
//
// # Modes
//
// Each mode is a [Source]:
//
//   - [SelfSigned], for a server in a cluster: a CA of its own, kept in a Secret
//     that all replicas share, and injected into the webhook configurations.
//   - [InMemory], for a server without a cluster: a CA that ends with the
//     process. Whoever calls the server must be given its CABundle.
//
// # Trust
//
// A CA signs server certificates only, for the DNS names of its options and their
// subdomains only (name constraints), and no further CA. CAs live 2 years, leaves
// 90 days; both are renewed when a third of their life is left. They are valid
// from an hour before they are made, for callers whose clock is behind.
//
// [SelfSigned] keeps CA and leaf, each with its key, in one Secret:
//
//	type: kubernetes.io/tls
//	metadata.labels[sallyport.dev/certs]: self-signed    ours; no other Secret is ever written
//	metadata.annotations[sallyport.dev/ca-phase]: steady no rotation is going on
//	data[ca.crt]: the CAs to trust, which is what webhook configurations get
//	data[ca.key]: the key of the CA among them that signs
//	data[tls.crt], data[tls.key]: the leaf, which every replica serves
//
// Replicas need no leader. What is written follows from what was read, under the
// resourceVersion that was read, so that of several writers one wins and the
// others take over its result. Nothing is generated before the state of the Secret
// is known. The CA gets into webhook configurations by server-side apply as field
// manager "sallyport-certs", which owns webhooks[*].clientConfig.caBundle and
// nothing else; whoever sets that field as well is overruled.
//
// The server's service account needs, by resourceNames where the verb knows them:
//
//	secrets, in its namespace                      get list watch update, and create
//	{validating,mutating}webhookconfigurations     get list watch patch
//
// # Failure
//
// The certificate that is served is replaced only by one that verifies against
// the CAs in the Secret, under all DNS names; until there is such a one, the last
// good certificate is kept. Whatever goes wrong is logged and tried again.
//
//   - The Secret holds no valid CA or leaf, because it is corrupt, expired or made
//     for other names: what is not valid is issued anew at once.
//   - The Secret is deleted: a new CA is made. That is the way to replace a CA whose
//     key is no longer a secret. Calls fail until the CA is injected again and the
//     replicas have seen it, which takes moments.
//   - The Secret is not ours, having no label: an error, and no certificate.
//   - A webhook configuration is missing: nothing, until it is created. One that
//     lost the CA gets it again.
//   - The API server is away or refuses: the last good certificate is served.
//
// Not done yet is a rotation of the CA without a failed call. When a CA has a third
// of its life left, CA and leaf are replaced in one step: the old CA stays trusted,
// and each replica first injects the new one and then serves the new leaf, but does
// not wait until every API server has noticed. Nor is a replica held back whose
// clock is wrong by so much that it takes good certificates for bad ones.
package certs
