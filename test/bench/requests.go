// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/sallyport-dev/sallyport/test/sallyport"
)

// A benchObject is what is created, again and again.
type benchObject struct {
	name, resource string
	// noop says what the no-op webhooks are that it is compared with.
	noop string
	// injected is set if Sallyport completes the object.
	injected bool
	body     string
}

var objects = []benchObject{
	{
		name: "ServiceEntry", resource: "serviceentries", noop: "a no-op webhook",
		body: `{"apiVersion":"networking.istio.io/v1","kind":"ServiceEntry","metadata":{"name":"api"},"spec":{` +
			`"hosts":["api.example.com"],"exportTo":["."],"location":"MESH_EXTERNAL","resolution":"DNS",` +
			`"ports":[{"number":443,"name":"https","protocol":"HTTPS"}]}}`,
	},
	{
		name: "VirtualService that needs injection", resource: "virtualservices", noop: "a no-op pair", injected: true,
		body: `{"apiVersion":"networking.istio.io/v1","kind":"VirtualService","metadata":{"name":"api"},"spec":{` +
			`"hosts":["api.example.com"],"exportTo":["."],"http":[{"route":[{"destination":{"host":"api.example.com"}}]}]}}`,
	},
	{
		name: "VirtualService that has all", resource: "virtualservices", noop: "a no-op webhook",
		body: `{"apiVersion":"networking.istio.io/v1","kind":"VirtualService","metadata":{"name":"api"},"spec":{` +
			`"hosts":["api.example.com"],"exportTo":["."],"http":[{"timeout":"5s","retries":{"attempts":1,"retryOn":"connect-failure"},` +
			`"route":[{"destination":{"host":"api.example.com"}}]}]}}`,
	},
}

// A dryRunner creates objects without storing them, over one connection.
type dryRunner struct{ client rest.Interface }

func newDryRunner(config *rest.Config) (*dryRunner, error) {
	config = rest.CopyConfig(config)
	config.QPS = -1 // no limit
	config.WarningHandler = rest.NoWarnings{}
	clients, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	return &dryRunner{client: clients.RESTClient()}, nil
}

func (d *dryRunner) create(ctx context.Context, namespace string, object benchObject) func() error {
	body := []byte(object.body)
	path := fmt.Sprintf("/apis/networking.istio.io/v1/namespaces/%s/%s", namespace, object.resource)
	return func() error {
		return d.client.Post().AbsPath(path).Param("dryRun", "All").
			SetHeader("Content-Type", "application/json").Body(body).Do(ctx).Error()
	}
}

func createNamespaces(ctx context.Context, config *rest.Config) error {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	for _, name := range []string{withNone, withNoop, withPatching, withSallyport} {
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
		if _, err := client.CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{}); err != nil {
			return err
		}
	}
	return nil
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// A usage is what the server's own metrics tell.
type usage struct{ cpuSeconds, residentMiB, requests, handlerSeconds float64 }

func readUsage(ctx context.Context, server *sallyport.Server, config *rest.Config) (*usage, error) {
	text, err := server.Scrape(ctx, config)
	if err != nil {
		return nil, err
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("read the metrics: %w", err)
	}
	return &usage{
		cpuSeconds:  total(families["process_cpu_seconds_total"]),
		residentMiB: total(families["process_resident_memory_bytes"]) / (1 << 20),
		requests:    total(families["sallyport_admission_requests_total"]),

		handlerSeconds: total(families["sallyport_admission_duration_seconds"]),
	}, nil
}

func total(family *dto.MetricFamily) float64 {
	var sum float64
	for _, m := range family.GetMetric() {
		sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + m.GetHistogram().GetSampleSum()
	}
	return sum
}
