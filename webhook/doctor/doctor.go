// SPDX-License-Identifier: Apache-2.0

// Package doctor looks at an installation from outside and says what is wrong with it.
// It stores nothing: what it tries, it tries in dry runs.
package doctor

import (
	"context"
	"time"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"github.com/sallyport-dev/sallyport/certs"
	"github.com/sallyport-dev/sallyport/webhook/drift"
)

// A Section is what was found out about one part of an installation.
type Section struct {
	Name string `json:"name"`
	// Facts are what is so, in sentences.
	Facts []string `json:"facts,omitempty"`
	// Problems are what somebody has to look after, in sentences.
	Problems []string `json:"problems,omitempty"`
	// Unknown is what could not be looked at, in sentences.
	Unknown []string `json:"unknown,omitempty"`
}

func (s *Section) fact(text string)    { s.Facts = append(s.Facts, text) }
func (s *Section) problem(text string) { s.Problems = append(s.Problems, text) }

// missed notes an error, if it is one.
func (s *Section) missed(err error) bool {
	if err != nil {
		s.Unknown = append(s.Unknown, err.Error())
	}
	return err != nil
}

// Options say what [Examine] looks at.
type Options struct {
	Client  kubernetes.Interface
	Dynamic dynamic.Interface
	// Namespace is the server's.
	Namespace string
	// ServiceAccount is the name of the server's in its namespace.
	ServiceAccount string
	// Configurations is the name of the webhook configurations.
	Configurations string
	// Mode is who issues the certificate.
	Mode certs.Mode
	// Secret is the name of that with the certificate.
	Secret string
	// ProbeNamespace is where an unsafe object is tried.
	ProbeNamespace string
	// Want is what the webhook configurations should be; nil is what stands in the
	// ConfigMap of the installation. // optional
	Want *drift.Configurations
	Now  time.Time
}

// Examine looks at everything but certificates, for which there is certs.Inspect.
func Examine(ctx context.Context, opts Options) []Section {
	examinations := []func(context.Context, *Options) *Section{
		definitions, reachability, configurations, permissions, replicas, policies,
	}
	sections := make([]Section, 0, len(examinations))
	for _, examine := range examinations {
		sections = append(sections, *examine(ctx, &opts))
	}
	return sections
}
