// SPDX-License-Identifier: Apache-2.0

// Package manifest turns what users write, YAML documents or the JSON of an
// admission request, into typed objects, and finds the line of a field in them.
package manifest

import (
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/runtime/schema"
	kjson "sigs.k8s.io/json"

	"github.com/sallyport-dev/sallyport/rules/analysis"
)

// What [Decode] can fail with besides an object that is malformed.
var (
	// ErrUnknownKind is returned for a kind or version that [analysis.KindFor]
	// does not know.
	ErrUnknownKind = errors.New("unknown kind")
	// ErrKindMismatch is returned for an object that says it is of another
	// kind or version than it was taken for.
	ErrKindMismatch = errors.New("kind mismatch")
)

// Decode reads a JSON object that is of exactly the given kind. Every served
// version is decoded into the Go type of the newest; the object keeps the
// apiVersion that it came with. Unknown fields are ignored, as Istio does.
func Decode(gvk schema.GroupVersionKind, raw []byte) (analysis.Object, error) {
	kind := analysis.KindFor(gvk)
	if kind == nil {
		return nil, fmt.Errorf("%w: %s", ErrUnknownKind, gvk)
	}
	obj := kind.New()
	if err := kjson.UnmarshalCaseSensitivePreserveInts(raw, obj); err != nil {
		return nil, err
	}
	if got := obj.GetObjectKind().GroupVersionKind(); got != gvk {
		return nil, fmt.Errorf("%w: the object is a %s of %q, not a %s of %q", ErrKindMismatch, got.Kind, got.GroupVersion(), gvk.Kind, gvk.GroupVersion())
	}
	return obj, nil
}
