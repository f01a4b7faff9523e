// SPDX-License-Identifier: Apache-2.0

package observability

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/sallyport-dev/sallyport/test/cluster"
)

type dashboard struct {
	Templating struct {
		List []struct {
			Name, Type string
			Query      any
		}
	}
	Panels []panel
}

type panel struct {
	ID         int
	Type       string
	Title      string
	Datasource struct{ UID string }
	GridPos    struct{ X, Y, W, H int }
	Targets    []struct{ Expr, LegendFormat, RefID string }
}

func readFile(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(cluster.Root(), "deploy", "chart", "files", name))
	require.NoError(t, err)
	return data
}

func readDashboard(t *testing.T) *dashboard {
	t.Helper()
	d := new(dashboard)
	require.NoError(t, json.Unmarshal(readFile(t, "dashboard.json"), d))
	require.NotEmpty(t, d.Panels)
	return d
}

// filled is an expression as Grafana sends it.
func filled(expr string) string {
	return strings.NewReplacer("$namespace", target["namespace"], "$job", target["job"], "$__rate_interval", "5m").Replace(expr)
}

var legendLabel = regexp.MustCompile(`{{\s*(\w+)\s*}}`)

// TestPanels: what panels ask for is there, and each query has a result.
func TestPanels(t *testing.T) {
	scraped := constant(exposed, 10)
	for _, p := range readDashboard(t).Panels {
		if p.Type == "row" {
			continue
		}
		t.Run(p.Title, func(t *testing.T) {
			require.NotEmpty(t, p.Targets)
			require.Equal(t, "${datasource}", p.Datasource.UID)
			for _, query := range p.Targets {
				expr := filled(query.Expr)
				require.NotContains(t, expr, "$", "a variable that the dashboard has not")
				checkSelectors(t, expr)
				result := scraped.evaluate(t, expr, 9*time.Minute, 9*time.Minute)
				assert.NotEmpty(t, result, expr)
				for _, series := range result {
					for _, label := range legendLabel.FindAllStringSubmatch(query.LegendFormat, -1) {
						assert.True(t, series.Metric.Has(label[1]), "%s has no label %s for the legend", series.Metric, label[1])
					}
				}
			}
		})
	}
}

// TestDashboard: panels have ids of their own and lie beside each other, and variables
// get their values from metrics that are there.
func TestDashboard(t *testing.T) {
	d := readDashboard(t)
	ids, cells := map[int]bool{}, map[[2]int]string{}
	for _, p := range d.Panels {
		require.False(t, ids[p.ID], "two panels have the id %d", p.ID)
		ids[p.ID] = true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				require.Less(t, x, 24, p.Title)
				require.Empty(t, cells[[2]int{x, y}], "%s lies on another panel", p.Title)
				cells[[2]int{x, y}] = p.Title
			}
		}
	}
	values := regexp.MustCompile(`^label_values\((.+), (\w+)\)$`)
	names := map[string]bool{}
	for _, v := range d.Templating.List {
		names[v.Name] = true
		if v.Type != "query" {
			continue
		}
		query, ok := v.Query.(map[string]any)["query"].(string)
		require.True(t, ok, v.Name)
		match := values.FindStringSubmatch(query)
		require.NotNil(t, match, query)
		require.Equal(t, v.Name, match[2])
		checkSelectors(t, filled(match[1]))
		checkSelectors(t, "count by ("+match[2]+") ("+filled(match[1])+")")
	}
	require.Equal(t, map[string]bool{"datasource": true, "namespace": true, "job": true}, names)
}
