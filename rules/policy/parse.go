// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"

	"github.com/sallyport-dev/sallyport/rules/policy/v1alpha1"
)

// Documents are the objects of policy files.
type Documents struct {
	Policies   []*v1alpha1.EgressPolicy
	Exemptions []*v1alpha1.EgressExemption
	// Namespaces have the labels that policies select by.
	Namespaces []*corev1.Namespace
}

// decoder is strict: unknown and duplicate fields are errors.
var decoder = func() runtime.Decoder {
	scheme := runtime.NewScheme()
	if err := errors.Join(v1alpha1.AddToScheme(scheme), corev1.AddToScheme(scheme)); err != nil {
		panic(err)
	}
	return serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
}()

// Parse adds the documents of a YAML or JSON file. Anything but the three kinds
// is an error, as are unknown and duplicate fields.
func (d *Documents) Parse(file string, data []byte) error {
	reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data)))
	for n := 1; ; n++ {
		text, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: document %d: %w", file, n, err)
		}
		if isBlank(text) {
			continue
		}
		obj, gvk, err := decoder.Decode(text, nil, nil)
		if err != nil {
			return fmt.Errorf("%s: document %d: %w", file, n, err)
		}
		switch o := obj.(type) {
		case *v1alpha1.EgressPolicy:
			d.Policies = append(d.Policies, o)
		case *v1alpha1.EgressExemption:
			d.Exemptions = append(d.Exemptions, o)
		case *corev1.Namespace:
			d.Namespaces = append(d.Namespaces, o)
		default:
			return fmt.Errorf("%s: document %d: a %s is no policy: want EgressPolicy, EgressExemption or Namespace", file, n, gvk.Kind)
		}
	}
}

// isBlank reports whether a document holds nothing but comments.
func isBlank(text []byte) bool {
	for line := range bytes.Lines(text) {
		line = bytes.TrimSpace(line)
		if len(line) > 0 && line[0] != '#' && !bytes.Equal(line, []byte("---")) {
			return false
		}
	}
	return true
}

// Compile makes the set of the documents, and a function that gives the
// effective policy of a namespace, by the labels of the Namespace documents.
func (d *Documents) Compile() (func(namespace string) *Policy, error) {
	set, err := Compile(d.Policies, d.Exemptions)
	if err != nil {
		return nil, err
	}
	labels := d.labels()
	return func(namespace string) *Policy { return set.For(namespace, labels[namespace]) }, nil
}

// Explain is like [Set.Explain] for the documents.
func (d *Documents) Explain(namespace string) ([]Value, error) {
	set, err := Compile(d.Policies, d.Exemptions)
	if err != nil {
		return nil, err
	}
	return set.Explain(namespace, d.labels()[namespace]), nil
}

func (d *Documents) labels() map[string]map[string]string {
	labels := make(map[string]map[string]string, len(d.Namespaces))
	for _, ns := range d.Namespaces {
		labels[ns.Name] = ns.Labels
	}
	return labels
}
