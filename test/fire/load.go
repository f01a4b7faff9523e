// SPDX-License-Identifier: Apache-2.0

package fire

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
)

// A verdict is what became of a request.
type verdict string

const (
	allowed verdict = "allowed"
	denied  verdict = "denied" // by a rule
	failed  verdict = "failed" // to call the webhook, which failurePolicy decides
	lost    verdict = "lost"   // the API server itself did not answer
)

// A shot is a request, when it was fired, and what became of it.
type shot struct {
	at      time.Duration // since the load began
	took    time.Duration
	unsafe  bool // the object violates the catalogue
	verdict verdict
	err     error
}

// A load fires dry-run creates at a constant rate, one safe object for each unsafe one,
// whatever becomes of those before: an open loop.
type load struct {
	entries dynamic.ResourceInterface
	begun   time.Time
	cancel  context.CancelFunc
	group   sync.WaitGroup

	mu    sync.Mutex
	shots []shot
}

var entriesResource = schema.GroupVersionResource{Group: "networking.istio.io", Version: "v1", Resource: "serviceentries"}

// startLoad begins to fire, as often in a second as the rate says.
func startLoad(ctx context.Context, config *rest.Config, rate int) (*load, error) {
	config = rest.CopyConfig(config)
	config.QPS = -1
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	l := &load{
		entries: client.Resource(entriesResource).Namespace("default"),
		begun:   time.Now(), cancel: cancel,
	}
	l.group.Go(func() {
		ticker := time.NewTicker(time.Second / time.Duration(rate))
		defer ticker.Stop()
		for n := 0; ; n++ {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				l.group.Go(func() { l.fire(context.WithoutCancel(ctx), n%2 == 0) })
			}
		}
	})
	return l, nil
}

// stop ends the load and returns all shots, of which none is under way any more.
func (l *load) stop() []shot {
	l.cancel()
	l.group.Wait()
	slices.SortFunc(l.shots, func(a, b shot) int { return cmp.Compare(a.at, b.at) })
	return l.shots
}

// requestTimeout is longer than any webhook's timeout.
const requestTimeout = 20 * time.Second

func (l *load) fire(ctx context.Context, unsafe bool) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	at := time.Now()
	_, err := l.entries.Create(ctx, serviceEntry(unsafe), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	s := shot{at: at.Sub(l.begun), took: time.Since(at), unsafe: unsafe, verdict: verdictOf(err), err: err}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.shots = append(l.shots, s)
}

func verdictOf(err error) verdict {
	switch {
	case err == nil:
		return allowed
	case apierrors.IsInvalid(err) && strings.Contains(err.Error(), "(serviceentry/"):
		return denied
	case strings.Contains(err.Error(), "failed calling webhook"):
		return failed
	default:
		return lost
	}
}

func serviceEntry(unsafe bool) *unstructured.Unstructured {
	spec := map[string]any{
		"hosts":      []any{"api.example.com"},
		"resolution": "DNS",
		"exportTo":   []any{"."},
		"ports":      []any{map[string]any{"number": int64(443), "name": "tls", "protocol": "TLS"}},
	}
	if unsafe {
		spec["hosts"] = []any{"*.example.com"}
		spec["resolution"] = "NONE"
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry",
		"metadata": map[string]any{"generateName": "fire-"}, "spec": spec,
	}}
}

// wrong returns the shots whose verdict must never be: an unsafe object that was
// admitted, or a safe one that was denied.
func wrong(shots []shot) []shot {
	return only(shots, func(s shot) bool {
		return s.unsafe && s.verdict == allowed || !s.unsafe && s.verdict == denied
	})
}

func withVerdict(shots []shot, v verdict) []shot {
	return only(shots, func(s shot) bool { return s.verdict == v })
}

func only(shots []shot, keep func(shot) bool) []shot {
	var kept []shot
	for _, s := range shots {
		if keep(s) {
			kept = append(kept, s)
		}
	}
	return kept
}

var addresses = regexp.MustCompile(`127\.0\.0\.1:\d+(->)?`)

// describe says what became of the shots, and how long they failed.
func describe(shots []shot) string {
	var first, last time.Duration
	for i, s := range append(withVerdict(shots, failed), withVerdict(shots, lost)...) {
		if i == 0 || s.at < first {
			first = s.at
		}
		last = max(last, s.at+s.took)
	}
	errs := map[string]int{}
	for _, s := range append(withVerdict(shots, failed), withVerdict(shots, lost)...) {
		errs[addresses.ReplaceAllString(s.err.Error(), "")]++
	}
	return fmt.Sprintf("%d shots: %d allowed, %d denied, %d failed, %d lost, failing for %v %v",
		len(shots), len(withVerdict(shots, allowed)), len(withVerdict(shots, denied)), len(withVerdict(shots, failed)),
		len(withVerdict(shots, lost)), (last - first).Round(10*time.Millisecond), errs)
}
