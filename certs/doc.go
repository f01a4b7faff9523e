// SPDX-License-Identifier: Apache-2.0

// Package certs provides the certificate that the webhook server serves, and
// makes the API server trust it.
//
// # Modes
//
// Each mode is a [Source]:
//
//   - [SelfSigned], the default for a server in a cluster: a CA of its own, kept in
//     a Secret that all replicas share, and injected into the webhook configurations.
//   - [CertManager]: a certificate that cert-manager issues, by a CA that it makes
//     or by an issuer that is there; injected by cainjector or by this package.
//   - [Files]: a certificate that somebody else writes into files, at any time.
//   - [InMemory], for a server without a cluster: a CA that ends with the
//     process. Whoever calls the server must be given its CABundle.
//
// [Inspect] tells from outside how the certificates of an installation are.
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
//	metadata.annotations[sallyport.dev/ca-phase]         how far a rotation is
//	metadata.annotations[sallyport.dev/ca-retire-after]  when the last leaf of the old CA has ended
//	data[ca.crt]: the CAs to trust, which is what webhook configurations get
//	data[ca.key]: the key of the CA among them that signs
//	data[ca-next.key]: the key of the CA that will sign, while one is published
//	data[tls.crt], data[tls.key]: the leaf, which every replica serves
//
// Replicas need no leader. What is written follows from what was read, under the
// resourceVersion that was read, so that of several writers one wins and the
// others take over its result. Nothing is generated before the state of the Secret
// is known. The CA gets into webhook configurations by server-side apply as field
// manager "sallyport-certs", which owns webhooks[*].clientConfig.caBundle and
// nothing else; whoever sets that field as well is overruled.
//
// # Rotation
//
// A CA is replaced in four phases, so that at no time somebody is served a
// certificate whose CA he does not trust:
//
//	steady   CA1 is trusted and signs, until a third of its life is left
//	publish  CA2 is trusted as well, until every webhook configuration has been
//	         read back with it, and API servers have had 15 minutes to notice
//	switch   CA2 signs, with a new leaf; CA1 is trusted until its last leaf has ended
//	retire   only CA2 is trusted, until every webhook configuration says so
//
// Each step is one write of the Secret that follows from the Secret alone and from
// what this replica has seen, so that any replica may take it, and may die at any
// point of it. The other modes do likewise with what others issue: a certificate of
// a CA that is new to the webhook configurations is held back until they have had
// it for as long.
//
// Clocks are compared with the API server's. If they differ by more than 5 minutes,
// no CA is rotated, and what must be issued is valid by both.
//
// # Permissions
//
// The server's service account needs, by resourceNames where the verb knows them:
//
//	secrets, in its namespace                      list watch; mode self: get, update and create
//	{validating,mutating}webhookconfigurations     get list watch patch
//	issuers and certificates of cert-manager.io,   mode cert-manager: get patch create
//	in its namespace
//	events                                         create patch
//
// # Failure
//
// The certificate that is served is replaced only by one that verifies against
// the CAs in the Secret, under all DNS names; until there is such a one, the last
// good certificate is kept. Whatever goes wrong is logged and tried again.
//
//   - The Secret holds no valid CA or leaf, because it is corrupt, expired or made
//     for other names: what is not valid is issued anew at once. CAs that replicas
//     remember stay trusted, and their certificates are served until the new CA is
//     trusted too.
//   - The Secret is deleted: a new CA is made. That is the way to replace a CA whose
//     key is no longer a secret. Calls fail until the CA is injected again and the
//     replicas have seen it, which takes moments.
//   - The Secret is not ours, having no label: an error, and no certificate.
//   - A webhook configuration is missing: nothing, until it is created. One that
//     lost the CA gets it again.
//   - The API server is away or refuses: the last good certificate is served.
package certs
