// SPDX-License-Identifier: Apache-2.0

package observability

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"
	"github.com/stretchr/testify/require"
)

var promQL = parser.NewParser(parser.Options{})

// step is the time between two scrapes, and between two evaluations.
const step = time.Minute

// zero is the time of the first scrape.
var zero = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

// A store holds what was scraped. It is a [storage.Queryable].
type store []storage.Series

func (s *store) add(series *promql.Series) {
	*s = append(*s, promql.NewStorageSeries(*series))
}

// addSeries adds a series in the notation of Prometheus' own tests, as m{a="b"} 0+1x10.
func (s *store) addSeries(t *testing.T, notation string) {
	t.Helper()
	metric, values, err := promQL.ParseSeriesDesc(notation)
	require.NoError(t, err, notation)
	series := promql.Series{Metric: metric}
	for i, v := range values {
		at := zero.Add(time.Duration(i) * step).UnixMilli()
		switch {
		case v.Omitted:
		case v.Histogram != nil:
			series.Histograms = append(series.Histograms, promql.HPoint{T: at, H: v.Histogram})
		default:
			series.Floats = append(series.Floats, promql.FPoint{T: at, F: v.Value})
		}
	}
	s.add(&series)
}

// constant returns what was exposed as if nothing had changed for a while before each
// of n scrapes.
func constant(e *exposition, n int) store {
	var s store
	for _, v := range e.values {
		points := make([]promql.FPoint, n)
		for i := range points {
			points[i] = promql.FPoint{T: zero.Add(time.Duration(i) * step).UnixMilli(), F: v.value}
		}
		s.add(&promql.Series{Metric: v.labels, Floats: points})
	}
	return s
}

// Querier implements [storage.Queryable].
func (s store) Querier(int64, int64) (storage.Querier, error) {
	return &storage.MockQuerier{SelectMockFunction: func(_ bool, _ *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
		set := new(seriesSet)
		for _, series := range s {
			if matches(series.Labels(), matchers) {
				set.series = append(set.series, series)
			}
		}
		slices.SortFunc(set.series, func(a, b storage.Series) int { return labels.Compare(a.Labels(), b.Labels()) })
		return set
	}}, nil
}

func matches(metric labels.Labels, matchers []*labels.Matcher) bool {
	return !slices.ContainsFunc(matchers, func(m *labels.Matcher) bool { return !m.Matches(metric.Get(m.Name)) })
}

// A seriesSet is a [storage.SeriesSet].
type seriesSet struct {
	series []storage.Series
	next   int
}

func (s *seriesSet) Next() bool                      { s.next++; return s.next <= len(s.series) }
func (s *seriesSet) At() storage.Series              { return s.series[s.next-1] }
func (*seriesSet) Err() error                        { return nil }
func (*seriesSet) Warnings() annotations.Annotations { return nil }

// evaluate evaluates an expression at each step between two times after zero.
func (s store) evaluate(t *testing.T, expr string, from, to time.Duration) promql.Matrix {
	t.Helper()
	engine := promql.NewEngine(promql.EngineOpts{
		MaxSamples: 1 << 20, Timeout: time.Minute, LookbackDelta: 5 * time.Minute, Parser: promQL,
	})
	query, err := engine.NewRangeQuery(t.Context(), s, nil, expr, zero.Add(from), zero.Add(to), step)
	require.NoError(t, err, expr)
	defer query.Close()
	result := query.Exec(t.Context())
	require.NoError(t, result.Err, expr)
	matrix, err := result.Matrix()
	require.NoError(t, err, expr)
	return slices.Clone(matrix)
}

// checkSelectors demands that each selector of an expression finds something in what was
// exposed, by name, labels and values; and that other labels in it are there.
func checkSelectors(t *testing.T, expr string) {
	t.Helper()
	parsed, err := promQL.ParseExpr(expr)
	require.NoError(t, err, expr)
	parser.Inspect(parsed, func(node parser.Node, _ []parser.Node) error {
		switch node := node.(type) {
		case *parser.VectorSelector:
			if len(found(node)) == 0 {
				t.Errorf("%s finds nothing that is exposed", node)
			}
			for _, m := range node.LabelMatchers {
				checkLabel(t, node, m.Name) // what is to be unlike something may be missing
			}
		case *parser.AggregateExpr:
			for _, label := range node.Grouping {
				checkLabel(t, node.Expr, label)
			}
		case *parser.BinaryExpr:
			if m := node.VectorMatching; m != nil {
				for _, label := range append(m.MatchingLabels, m.Include...) {
					checkLabel(t, node.LHS, label)
					checkLabel(t, node.RHS, label)
				}
			}
		}
		return nil
	})
}

func found(selector *parser.VectorSelector) []labels.Labels {
	var all []labels.Labels
	for _, metric := range exposed.series() {
		if matches(metric, selector.LabelMatchers) {
			all = append(all, metric)
		}
	}
	return all
}

// checkLabel demands that a series in the expression has the label, or that the
// expression makes it.
func checkLabel(t *testing.T, expr parser.Node, label string) {
	t.Helper()
	has := false
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		switch node := node.(type) {
		case *parser.VectorSelector:
			has = has || slices.ContainsFunc(found(node), func(l labels.Labels) bool { return l.Has(label) })
		case *parser.AggregateExpr:
			if node.Op == parser.COUNT_VALUES {
				has = has || node.Param.String() == fmt.Sprintf("%q", label)
			}
		}
		return nil
	})
	if !has {
		t.Errorf("nothing in %s has the label %s", expr, label)
	}
}
