// SPDX-License-Identifier: Apache-2.0

package observability

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"
	"k8s.io/client-go/kubernetes"

	"github.com/sallyport-dev/sallyport/test/sallyport"
)

// targets are the labels that Prometheus gives to what it scrapes.
var (
	target          = map[string]string{"namespace": "sallyport-system", "job": "sallyport", "pod": "sallyport-0", "instance": "10.0.0.1:8443"}
	apiServerTarget = map[string]string{"job": "apiserver", "instance": "10.0.0.2:6443"}
)

// An exposition is what Prometheus would know after scraping the server and the API
// server.
type exposition struct {
	values []value
	// native are the series of native histograms.
	native []labels.Labels
}

type value struct {
	labels labels.Labels
	value  float64
}

// series returns the labels of everything.
func (e *exposition) series() []labels.Labels {
	all := slices.Clone(e.native)
	for _, v := range e.values {
		all = append(all, v.labels)
	}
	return all
}

func withTarget(target map[string]string, pairs ...string) labels.Labels {
	b := labels.NewBuilder(labels.FromMap(target))
	for i := 0; i < len(pairs); i += 2 {
		b.Set(pairs[i], pairs[i+1])
	}
	return b.Labels()
}

func (w *world) scrape(ctx context.Context) (*exposition, error) {
	client, err := kubernetes.NewForConfig(w.plane.Config)
	if err != nil {
		return nil, err
	}
	e := new(exposition)
	apiServer, err := client.RESTClient().Get().AbsPath("/metrics").DoRaw(ctx)
	if err != nil {
		return nil, err
	}
	own, err := w.server.Scrape(ctx, w.plane.Config)
	if err != nil {
		return nil, err
	}
	native, err := w.scrapeNative(ctx)
	if err != nil {
		return nil, err
	}
	e.addNative(native)
	return e, errors.Join(e.add(apiServerTarget, string(apiServer)), e.add(target, own))
}

// add adds what is exposed as text.
func (e *exposition) add(target map[string]string, text string) error {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		return err
	}
	for _, family := range families {
		samples, err := expfmt.ExtractSamples(new(expfmt.DecodeOptions), family)
		if err != nil {
			return err
		}
		for _, s := range samples {
			pairs := make([]string, 0, 2*len(s.Metric))
			for name, v := range s.Metric {
				pairs = append(pairs, string(name), string(v))
			}
			e.values = append(e.values, value{withTarget(target, pairs...), float64(s.Value)})
		}
	}
	return nil
}

// scrapeNative reads the server's metrics as a Prometheus that wants native histograms.
func (w *world) scrapeNative(ctx context.Context) (families []*dto.MetricFamily, err error) {
	token, err := sallyport.ScraperToken(ctx, w.plane.Config)
	if err != nil {
		return nil, err
	}
	client, err := w.server.Client(ctx, w.plane.Config)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.server.Metrics+"/metrics", http.NoBody)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Accept", string(expfmt.NewFormat(expfmt.TypeProtoDelim)))
	res, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("read the metrics: %s", res.Status)
	}
	decoder := expfmt.NewDecoder(res.Body, expfmt.ResponseFormat(res.Header))
	for {
		family := new(dto.MetricFamily)
		if err := decoder.Decode(family); errors.Is(err, io.EOF) {
			return families, nil
		} else if err != nil {
			return nil, err
		}
		families = append(families, family)
	}
}

func (e *exposition) addNative(families []*dto.MetricFamily) {
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if len(m.GetHistogram().GetPositiveSpan()) == 0 {
				continue
			}
			pairs := []string{"__name__", family.GetName()}
			for _, l := range m.GetLabel() {
				pairs = append(pairs, l.GetName(), l.GetValue())
			}
			e.native = append(e.native, withTarget(target, pairs...))
		}
	}
}

// TestExposition: trouble has left its traces, without which the other tests prove
// nothing.
func TestExposition(t *testing.T) {
	require.NotEmpty(t, exposed.native)
	require.Greater(t, len(exposed.values), len(well.values))
}
