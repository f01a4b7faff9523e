// SPDX-License-Identifier: Apache-2.0

package observability

import (
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/template"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

func readRules(t *testing.T) map[string]rulefmt.Rule {
	t.Helper()
	groups, errs := rulefmt.Parse(readFile(t, "rules.yaml"), false, model.UTF8Validation, promQL)
	require.Empty(t, errs)
	rules := map[string]rulefmt.Rule{}
	for _, group := range groups.Groups {
		for _, rule := range group.Rules {
			require.NotContains(t, rules, rule.Alert, "two alerts have the name")
			rules[rule.Alert] = rule
		}
	}
	return rules
}

// TestRules: alerts are about what is exposed, and say what, why and what to do.
func TestRules(t *testing.T) {
	for name, rule := range readRules(t) {
		t.Run(name, func(t *testing.T) {
			require.Regexp(t, `^Sallyport[A-Z]\w+$`, name, "they are alerts, and can be told from others'")
			require.Contains(t, []string{"critical", "warning", "info"}, rule.Labels["severity"])
			require.Len(t, rule.Annotations, 3)
			for _, annotation := range []string{"summary", "description", "action"} {
				require.Regexp(t, `(?s)^\S.*[.]$`, rule.Annotations[annotation], annotation)
			}
			checkSelectors(t, rule.Expr)
		})
	}
}

// TestWell: a server that is well rings no alarm, whatever has happened before Prometheus
// came to know it.
func TestWell(t *testing.T) {
	for what, e := range map[string]*exposition{"before": well, "after": exposed} {
		const scrapes = 150
		scraped := constant(e, scrapes)
		// Certificates are new, and this Prometheus' clock is not the server's.
		for i, v := range e.values {
			if name := v.labels.Get(model.MetricNameLabel); strings.HasSuffix(name, "_not_before_seconds") || strings.HasSuffix(name, "_not_after_seconds") {
				scraped[i] = constant(&exposition{values: []value{{v.labels, v.value + float64(zero.Unix()-time.Now().Unix())}}}, scrapes)[0]
			}
		}
		for name, rule := range readRules(t) {
			require.Empty(t, firing(t, &rule, scraped, (scrapes-1)*step), "%s, %s", name, what)
		}
	}
}

// An alertCase is a case of testdata/alerts.yaml.
type alertCase struct {
	Alert string `json:"alert"`
	Case  string `json:"case"`
	// Series are in the notation of Prometheus' own tests, a value a minute.
	Series []string `json:"series"`
	// After is when the alert is looked at.
	After metav1.Duration `json:"after"`
	// Fires are the summaries of the alerts that fire.
	Fires []string `json:"fires"`
}

// TestAlerts: each alert fires when it should and only then.
func TestAlerts(t *testing.T) {
	data, err := os.ReadFile("testdata/alerts.yaml")
	require.NoError(t, err)
	var cases []alertCase
	require.NoError(t, yaml.UnmarshalStrict(data, &cases))
	rules := readRules(t)
	fires, silent := map[string]bool{}, map[string]bool{}
	for _, tt := range cases {
		t.Run(tt.Alert+"/"+tt.Case, func(t *testing.T) {
			rule, ok := rules[tt.Alert]
			require.True(t, ok, "there is no such alert")
			var s store
			for _, series := range tt.Series {
				s.addSeries(t, series)
				checkSelectors(t, selector(s[len(s)-1].Labels()))
			}
			require.Equal(t, tt.Fires, firing(t, &rule, s, tt.After.Duration))
		})
		fires[tt.Alert] = fires[tt.Alert] || len(tt.Fires) > 0
		silent[tt.Alert] = silent[tt.Alert] || len(tt.Fires) == 0
	}
	for name := range rules {
		require.True(t, fires[name], "%s has no case in which it fires", name)
		require.True(t, silent[name], "%s has no case in which it does not", name)
	}
}

// selector returns what finds series with the same labels, but for those of targets and
// buckets, which are as many as there may be.
func selector(metric labels.Labels) string {
	var parts []string
	metric.Range(func(l labels.Label) {
		switch l.Name {
		case "namespace", "job", "pod", "instance", "le":
		default:
			parts = append(parts, fmt.Sprintf("%s=%q", l.Name, l.Value))
		}
	})
	return "{" + strings.Join(parts, ",") + "}"
}

// firing returns the summaries of the alerts of a rule that fire after a while: those
// whose condition has held for as long as the rule says.
func firing(t *testing.T, rule *rulefmt.Rule, s store, after time.Duration) []string {
	t.Helper()
	lasting := time.Duration(rule.For)
	var summaries []string
	for _, series := range s.evaluate(t, rule.Expr, after-lasting, after) {
		if len(series.Floats) == int(lasting/step)+1 {
			summaries = append(summaries, expand(t, rule, &series))
		}
	}
	slices.Sort(summaries)
	return summaries
}

// expand returns the summary of an alert, and fails if another annotation cannot be
// expanded.
func expand(t *testing.T, rule *rulefmt.Rule, series *promql.Series) string {
	t.Helper()
	data := template.AlertTemplateData(series.Metric.Map(), nil, "", promql.Sample{F: series.Floats[len(series.Floats)-1].F})
	expanded := map[string]string{}
	for name, text := range rule.Annotations {
		text = "{{$labels := .Labels}}{{$value := .Value}}" + text
		result, err := template.NewTemplateExpander(t.Context(), text, name, data, model.TimeFromUnix(zero.Unix()), nil, new(url.URL), nil).Expand()
		require.NoError(t, err, name)
		require.NotContains(t, result, "<no value>", name)
		expanded[name] = result
	}
	return expanded["summary"]
}
