// SPDX-License-Identifier: Apache-2.0

package drift

import (
	"testing"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/client-go/tools/record"
)

// TestTell: nobody hears that something is restored while it is wrong in another way.
func TestTell(t *testing.T) {
	events := record.NewFakeRecorder(10)
	w := NewWatcher(Options{Registerer: prometheus.NewRegistry(), Events: events, Log: logr.Discard()})
	webhook := func(c *Configurations) *admissionregistrationv1.ValidatingWebhook { return &c.Validating.Webhooks[0] }
	for _, step := range []struct {
		name string
		edit func(*Configurations)
		want []string
	}{
		{"as installed", func(*Configurations) {}, nil},
		{"a timeout", func(c *Configurations) { webhook(c).TimeoutSeconds = new(int32(5)) }, []string{"timeoutSeconds is 5"}},
		{"the same", func(c *Configurations) { webhook(c).TimeoutSeconds = new(int32(5)) }, nil},
		{"another timeout", func(c *Configurations) { webhook(c).TimeoutSeconds = new(int32(7)) }, []string{"timeoutSeconds is 7"}},
		{"no such webhook", func(c *Configurations) { webhook(c).Name = "a.b.c" }, []string{"validate.sallyport.dev is missing", "a.b.c should not be there"}},
		{"no configuration", func(c *Configurations) { c.Validating = nil }, []string{"sallyport is missing"}},
		{"the first again", func(c *Configurations) { webhook(c).TimeoutSeconds = new(int32(5)) }, []string{"timeoutSeconds is 5", "Normal Restored"}},
		{"as installed again", func(*Configurations) {}, []string{"Normal Restored As it was installed again: validate.sallyport.dev timeoutSeconds"}},
	} {
		is := installed(t)
		step.edit(is)
		w.tell(Compare(is, installed(t)))
		require.Len(t, events.Events, len(step.want), step.name)
		for _, want := range step.want {
			require.Contains(t, <-events.Events, want, step.name)
		}
	}
}
