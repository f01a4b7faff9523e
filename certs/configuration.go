// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// A configuration is what matters of a webhook configuration.
type configuration struct {
	uid             types.UID
	resourceVersion string
	generation      int64
	webhooks        []webhook
}

func configurationOf(meta *metav1.ObjectMeta) *configuration {
	return &configuration{uid: meta.UID, resourceVersion: meta.ResourceVersion, generation: meta.Generation}
}

type webhook struct {
	name   string
	bundle []byte
}

func (c *configuration) carries(bundle []byte) bool {
	for _, w := range c.webhooks {
		if !bytes.Equal(w.bundle, bundle) {
			return false
		}
	}
	return true
}

// trusted returns the CAs that all of the webhooks have.
func (c *configuration) trusted() []caID {
	var common []caID
	for i, w := range c.webhooks {
		ids := idsIn(w.bundle)
		if i == 0 {
			common = ids
		}
		common = slices.DeleteFunc(common, func(id caID) bool { return !slices.Contains(ids, id) })
	}
	return common
}

// distrusting returns the webhooks whose bundle does not verify the certificate at
// any of the times. Those without one do if the API server knows the CA by itself.
func (c *configuration) distrusting(cert *tls.Certificate, system bool, times []time.Time) []string {
	if c == nil {
		return nil
	}
	var names []string
	for _, w := range c.webhooks {
		if len(w.bundle) == 0 && system {
			continue
		}
		if cert == nil || verifyAt(cert, poolIn(w.bundle), cert.Leaf.DNSNames, times) != nil {
			names = append(names, w.name)
		}
	}
	return names
}

// hopes reports whether each webhook has a CA that is valid at one of the times,
// or leaves it to the API server whom to trust.
func (c *configuration) hopes(times []time.Time) bool {
	return !slices.ContainsFunc(c.webhooks, func(w webhook) bool {
		return len(w.bundle) > 0 && !slices.ContainsFunc(parseBundle(w.bundle), func(ca *x509.Certificate) bool {
			return slices.ContainsFunc(times, func(now time.Time) bool { return validAt(ca, now) == nil })
		})
	})
}
