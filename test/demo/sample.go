// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"

	"github.com/rogpeppe/go-internal/diff"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

// A sample is one object of a sample file.
type sample struct {
	text    []byte
	comment []string // the lines above the object
	object  *unstructured.Unstructured
	// refusedBy is the rule that is to refuse the object, as the comment says;
	// empty if the object is to be admitted.
	refusedBy string
}

// String names the object.
func (s *sample) String() string {
	return fmt.Sprintf("%s %s/%s", s.object.GetKind(), s.object.GetNamespace(), s.object.GetName())
}

var refusal = regexp.MustCompile(`^Refused \(([a-z/-]+)\)`)

// readSamples returns the objects of a file, in order.
func readSamples(file string) ([]*sample, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var samples []*sample
	reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data)))
	for {
		text, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return samples, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", file, err)
		}
		s := &sample{text: text, object: new(unstructured.Unstructured)}
		if err := yaml.Unmarshal(text, &s.object.Object); err != nil {
			return nil, fmt.Errorf("read %s: %w", file, err)
		}
		for line := range strings.Lines(string(text)) {
			comment, ok := strings.CutPrefix(line, "# ")
			if !ok {
				break
			}
			s.comment = append(s.comment, strings.TrimSpace(comment))
		}
		if m := refusal.FindStringSubmatch(strings.Join(s.comment, " ")); m != nil {
			s.refusedBy = m[1]
		}
		samples = append(samples, s)
	}
}

// A result is what became of a sample.
type result struct {
	refused bool
	// message is what kubectl printed on standard error: the refusal, or
	// warnings.
	message string
	// diff is what Sallyport changed, empty if nothing.
	diff string
}

// check returns an error if the result is not what the sample's comment says.
func (s *sample) check(r *result) error {
	switch {
	case s.refusedBy == "" && r.refused:
		return fmt.Errorf("%s was refused: %s", s, r.message)
	case s.refusedBy != "" && !r.refused:
		return fmt.Errorf("%s was admitted", s)
	case !strings.Contains(r.message, s.refusedBy):
		return fmt.Errorf("%s was not refused by %s: %s", s, s.refusedBy, r.message)
	}
	return nil
}

// apply applies the sample and looks at what is stored then.
func (k *kubectl) apply(ctx context.Context, s *sample) (*result, error) {
	_, message, err := k.run(ctx, s.text, "apply", "-f", "-")
	if _, ok := errors.AsType[*exec.ExitError](err); ok {
		return &result{refused: true, message: message}, nil
	}
	if err != nil {
		return nil, err
	}
	stored, message2, err := k.run(ctx, nil, "get", "-o", "yaml", "-n", s.object.GetNamespace(), s.object.GetKind()+"."+s.object.GroupVersionKind().Group, s.object.GetName())
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, message2)
	}
	after := new(unstructured.Unstructured)
	if err := yaml.Unmarshal([]byte(stored), &after.Object); err != nil {
		return nil, err
	}
	changes, err := diffSpecs(s.object, after)
	return &result{message: message, diff: changes}, err
}

func diffSpecs(before, after *unstructured.Unstructured) (string, error) {
	b, err := yaml.Marshal(before.Object["spec"])
	if err != nil {
		return "", err
	}
	a, err := yaml.Marshal(after.Object["spec"])
	if err != nil {
		return "", err
	}
	return string(diff.Diff("spec as written", b, "spec as stored", a)), nil
}

// A kubectl runs the real kubectl.
type kubectl struct{ path, kubeconfig string }

func (k *kubectl) run(ctx context.Context, stdin []byte, args ...string) (stdout, stderr string, err error) {
	cmd := exec.CommandContext(ctx, k.path, append([]string{"--kubeconfig", k.kubeconfig}, args...)...)
	cmd.Stdin = bytes.NewReader(stdin)
	var out, errOut strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err = cmd.Run()
	return out.String(), strings.TrimSpace(errOut.String()), err
}
