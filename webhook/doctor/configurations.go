// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sallyport-dev/sallyport/webhook/drift"
)

// What the installation keeps of itself.
const (
	configMap    = "sallyport"
	manifestsKey = "webhooks.yaml"
)

// configurations compares those of the webhooks with what they should be.
func configurations(ctx context.Context, opts *Options) *Section {
	s := &Section{Name: "Webhook configurations"}
	want := opts.Want
	if want == nil {
		var err error
		if want, err = installed(ctx, opts); s.missed(err) {
			return s
		}
	}
	if want == nil {
		s.fact(fmt.Sprintf("not compared: there is no ConfigMap %s/%s with %s; give the manifests with --expect FILE", opts.Namespace, configMap, manifestsKey))
		return s
	}
	live, err := drift.Live(ctx, opts.Client, want)
	if s.missed(err) {
		return s
	}
	for _, d := range drift.Compare(live, want) {
		s.problem(d.String() + "; apply the manifests again, or install the change")
	}
	if len(s.Problems) == 0 {
		s.fact("as installed")
	}
	return s
}

// installed returns what the installation says that it should be; nil if it does not.
func installed(ctx context.Context, opts *Options) (*drift.Configurations, error) {
	m, err := opts.Client.CoreV1().ConfigMaps(opts.Namespace).Get(ctx, configMap, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read ConfigMap %s/%s: %w", opts.Namespace, configMap, err)
	}
	text, ok := m.Data[manifestsKey]
	if !ok {
		return nil, nil
	}
	want, err := drift.Parse([]byte(text))
	if err != nil {
		return nil, fmt.Errorf("ConfigMap %s/%s: %s: %w", opts.Namespace, configMap, manifestsKey, err)
	}
	return want, nil
}
