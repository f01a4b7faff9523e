// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sallyport-dev/sallyport/rules"
	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/manifest"
	"github.com/sallyport-dev/sallyport/rules/mesh"
	"github.com/sallyport-dev/sallyport/rules/policy"
)

// now is the time in all worlds; their objects are a day older.
var now = time.Date(2026, time.January, 2, 0, 0, 0, 0, time.UTC)

func setAge(obj analysis.Object, order int) {
	obj.SetCreationTimestamp(metav1.NewTime(now.Add(-24*time.Hour + time.Duration(order)*time.Minute)))
}

const bypass = "virtualservice/gateway-bypass"

// An admission lets objects in one after the other, as the webhook does.
type admission struct {
	world  *world
	suite  *analysis.Suite
	index  *mesh.Index
	stored []analysis.Object
	// changed are those of stored that a mutator has changed.
	changed []analysis.Object
	// verdicts are lines as in the section admission.
	verdicts []string
	// findings are all messages, by object.
	findings map[string][]string
	created  int
}

func newAdmission(t *testing.T, w *world) *admission {
	t.Helper()
	suite, err := analysis.NewSuite(rules.All...)
	require.NoError(t, err)
	a := &admission{world: w, suite: suite, index: mesh.New(w.config), findings: map[string][]string{}}
	for doc, err := range manifest.Documents("platform", bytes.NewReader(slices.Concat(w.platform, []byte("\n---\n"), w.services))) {
		require.NoError(t, err)
		if doc.Object != nil { // waypoints are no kind that Sallyport knows
			doc.Object.SetCreationTimestamp(metav1.NewTime(now.Add(-48 * time.Hour)))
			a.index.Set(doc.Object)
		}
	}
	a.index.SetComplete(analysis.Kinds()...)
	return a
}

// admit mutates and checks an object, and stores it unless it is denied.
func (a *admission) admit(t *testing.T, doc *manifest.Document) {
	t.Helper()
	obj := doc.Object
	old := a.index.Object(doc.Kind, obj.GetNamespace(), obj.GetName())
	if old == nil {
		a.created++
		setAge(obj, a.created)
	} else {
		obj.SetCreationTimestamp(old.GetCreationTimestamp())
	}
	in := analysis.Input{
		Object: obj, Policy: a.world.policyFor(obj.GetNamespace()), Config: a.world.config, Mesh: a.index, Now: now,
	}
	injections, failure := analysis.Mutate(rules.Mutators, in)
	require.Nil(t, failure)
	res := analysis.Check(a.suite, in)
	if old != nil {
		in.Old = old
		res = analysis.Check(a.suite, in)
	}
	require.Empty(t, res.Panics)
	a.record(obj, res.Findings)
	if res.Denied() {
		return
	}
	a.index.Set(obj)
	a.stored = append(slices.DeleteFunc(a.stored, func(o analysis.Object) bool { return nameOf(o) == nameOf(obj) }), obj)
	if len(injections) > 0 {
		a.changed = append(a.changed, obj)
	}
}

func (a *admission) record(obj analysis.Object, findings []analysis.Finding) {
	by := map[policy.Action][]string{}
	for i := range findings {
		f := &findings[i]
		if action := f.Verdict.Action; !slices.Contains(by[action], f.Rule.Name) {
			by[action] = append(by[action], f.Rule.Name)
		}
		a.findings[nameOf(obj)] = append(a.findings[nameOf(obj)], fmt.Sprintf("%s: %v", f.Rule.Name, f.Error))
	}
	if names := by[policy.Deny]; len(names) > 0 {
		a.verdicts = append(a.verdicts, nameOf(obj)+": denied "+strings.Join(names, ", "))
	}
	if names := by[policy.Warn]; len(names) > 0 {
		a.verdicts = append(a.verdicts, nameOf(obj)+": warned "+strings.Join(names, ", "))
	}
}

// checkVerdicts compares what was said with what the world expects: all denials, and
// some warnings.
func (a *admission) checkVerdicts(t *testing.T) {
	t.Helper()
	for _, want := range a.world.admission {
		if !slices.ContainsFunc(a.verdicts, func(got string) bool { return meets(got, want) }) {
			t.Errorf("admission: want %q, got %q", want, a.verdicts)
		}
	}
	for _, got := range a.verdicts {
		object, verdict, _ := strings.Cut(got, ": ")
		isBypass := strings.HasPrefix(object, "VirtualService/") && strings.Contains(verdict, bypass)
		if !isBypass && !strings.HasPrefix(verdict, "denied ") {
			continue
		}
		if !slices.ContainsFunc(a.world.admission, func(want string) bool { return meets(got, want) }) {
			t.Errorf("admission: unexpected: %s\n%s", got, strings.Join(a.findings[object], "\n"))
		}
	}
}

// meets reports whether a verdict is the expected one; there may be more warnings.
func meets(got, want string) bool {
	object, rule, ok := strings.Cut(want, ": warned ")
	return got == want || ok && strings.HasPrefix(got, object+": warned ") && strings.Contains(got+",", " "+rule+",")
}

// servicesOf returns the Services of the world.
func (w *world) servicesOf(t *testing.T) []*corev1.Service {
	t.Helper()
	var all []*corev1.Service
	for _, doc := range documents(t, w.services) {
		svc, ok := doc.Object.(*corev1.Service)
		require.True(t, ok, "services.yaml has a %s", doc.GVK)
		all = append(all, svc)
	}
	return all
}
