// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"go.yaml.in/yaml/v3"
	apischema "k8s.io/apimachinery/pkg/runtime/schema"
	kyaml "sigs.k8s.io/yaml"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/internal/schema"
)

// Documents yields the objects of a YAML or JSON file: each document, and each
// item of a List, in their order. Documents without content are skipped. A document
// that cannot be read yields an *[Error]; those after it are read nevertheless. Some
// are read ahead, on all cores: at most [batchSize], and about [batchBytes] of text.
func Documents(file string, r io.Reader) iter.Seq2[*Document, error] {
	return func(yield func(*Document, error) bool) {
		s := &splitter{reader: bufio.NewReader(r)}
		for {
			chunks, err := s.batch()
			for _, parsed := range parseAll(file, chunks) {
				for _, p := range parsed {
					if !yield(p.doc, p.err) {
						return
					}
				}
			}
			if err != nil && !errors.Is(err, io.EOF) {
				yield(nil, fmt.Errorf("read %s: %w", file, err))
			}
			if err != nil {
				return
			}
		}
	}
}

// How much is read ahead.
const (
	batchSize  = 128
	batchBytes = 1 << 20
)

// batch returns the next documents. The last come with an error: io.EOF, or what is
// wrong with the stream, which may have cut the last of them off.
func (s *splitter) batch() ([]*chunk, error) {
	var chunks []*chunk
	for size := 0; len(chunks) < batchSize && size < batchBytes; {
		c, err := s.next()
		if err != nil && !errors.Is(err, io.EOF) {
			return chunks, err
		}
		chunks = append(chunks, c)
		size += len(c.text)
		if err != nil {
			return chunks, err
		}
	}
	return chunks, nil
}

// A parsed is a document, or why it cannot be read.
type parsed struct {
	doc *Document
	err error
}

// parseAll parses chunks on all cores and returns their documents in order.
func parseAll(file string, chunks []*chunk) [][]parsed {
	all := make([][]parsed, len(chunks))
	one := func(i int) {
		for doc, err := range parse(file, chunks[i]) {
			all[i] = append(all[i], parsed{doc, err})
		}
	}
	if len(chunks) == 1 {
		one(0)
		return all
	}
	var next atomic.Int64
	var group sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(chunks)) {
		group.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(chunks); i = int(next.Add(1)) - 1 {
				one(i)
			}
		})
	}
	group.Wait()
	return all
}

// A splitter cuts a stream into documents, at the lines at which kubectl does:
// three dashes and nothing else but blanks or a comment.
type splitter struct {
	reader *bufio.Reader
	line   int // lines read
	offset int // bytes read
}

// A chunk is the text of one document and where it begins in the file.
type chunk struct {
	text   []byte
	line   int        // lines before it
	offset int        // bytes before it
	root   *yaml.Node // nil if the text must be parsed again
}

// node returns the node of the document, the text of which has been parsed before.
func (c *chunk) node() *yaml.Node {
	if c.root == nil {
		var document yaml.Node
		if err := yaml.Unmarshal(c.text, &document); err != nil {
			panic("manifest: a text cannot be parsed twice: " + err.Error())
		}
		c.root = document.Content[0]
	}
	return c.root
}

var byteOrderMark = []byte("\xef\xbb\xbf")

// next returns the next document. The last comes with io.EOF.
func (s *splitter) next() (*chunk, error) {
	c := &chunk{line: s.line, offset: s.offset}
	for {
		line, err := s.reader.ReadBytes('\n')
		s.offset += len(line)
		if s.line == 0 && bytes.HasPrefix(line, byteOrderMark) {
			line = line[len(byteOrderMark):]
			c.offset = len(byteOrderMark)
		}
		if len(line) > 0 {
			s.line++
		}
		if isSeparator(line) && err == nil {
			return c, nil
		}
		if !isSeparator(line) {
			c.text = append(c.text, line...)
		}
		if err != nil {
			return c, err
		}
	}
}

func isSeparator(line []byte) bool {
	rest, ok := bytes.CutPrefix(line, []byte("---"))
	if !ok || (len(rest) > 0 && !bytes.ContainsAny(rest[:1], " \t\r\n")) {
		return false
	}
	rest = bytes.TrimSpace(rest)
	return len(rest) == 0 || rest[0] == '#'
}

var yamlLine = regexp.MustCompile(`^yaml: (?:unmarshal errors:\n\s*)?line (\d+): `)

// parse yields the objects of one document.
func parse(file string, c *chunk) iter.Seq2[*Document, error] {
	text := c.text
	return func(yield func(*Document, error) bool) {
		fail := func(line, column int, format string, args ...any) {
			if bytes.Contains(text, []byte("{{")) {
				format += "; templates must be rendered first, as by 'helm template'"
			}
			at := Position{Line: c.line + clampLine(text, line), Column: max(column, 1), Width: 1}
			yield(nil, &Error{File: file, Position: at, Message: fmt.Sprintf(format, args...)})
		}
		var root yaml.Node
		if err := yaml.Unmarshal(text, &root); err != nil {
			line, message := 1, strings.TrimPrefix(err.Error(), "yaml: ")
			if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
				line, _ = strconv.Atoi(m[1])
				message = err.Error()[len(m[0]):]
			}
			fail(line, 1, "%s", message)
			return
		}
		if root.Kind != yaml.DocumentNode || len(root.Content) != 1 || isEmpty(root.Content[0]) {
			return
		}
		node := root.Content[0]
		if key := duplicateKey(node); key != nil {
			fail(key.Line, key.Column, "duplicate key %q", key.Value)
			return
		}
		if node.Kind != yaml.MappingNode {
			fail(node.Line, node.Column, "the document is no object")
			return
		}
		raw, err := toJSON(node, text)
		if err != nil {
			fail(node.Line, node.Column, "%s", strings.TrimPrefix(err.Error(), "yaml: "))
			return
		}
		c.root = node
		defer func() { c.root = nil }()
		base := &Document{File: file, Raw: raw, chunk: c}
		for doc, err := range base.objects() {
			if !yield(doc, err) {
				return
			}
		}
	}
}

// clampLine keeps a line that the parser tells inside the text: the parser also
// counts a line after the last one, and breaks lines at other characters than
// editors do.
func clampLine(text []byte, line int) int {
	return max(1, min(line, bytes.Count(text, []byte("\n"))+1))
}

func isEmpty(node *yaml.Node) bool { return node.Kind == yaml.ScalarNode && node.Tag == "!!null" }

func toJSON(node *yaml.Node, text []byte) ([]byte, error) {
	var b bytes.Buffer
	if appendJSON(&b, node) {
		return b.Bytes(), nil
	}
	return kyaml.YAMLToJSONStrict(text)
}

// duplicateKey returns the second of two equal keys of a mapping, if there are
// any.
func duplicateKey(node *yaml.Node) *yaml.Node {
	if node.Kind == yaml.MappingNode {
		seen := make(map[string]struct{}, len(node.Content)/2)
		for i := 0; i+1 < len(node.Content); i += 2 {
			key := node.Content[i]
			if key.Kind != yaml.ScalarNode {
				continue
			}
			if _, ok := seen[key.Value]; ok && !isMerge(key) {
				return key
			}
			seen[key.Value] = struct{}{}
		}
	}
	for _, c := range node.Content {
		if key := duplicateKey(c); key != nil {
			return key
		}
	}
	return nil
}

// objects yields the document, or the items of a list in it.
func (d *Document) objects() iter.Seq2[*Document, error] {
	return func(yield func(*Document, error) bool) {
		if err := d.identify(); err != nil {
			yield(nil, err)
			return
		}
		_, items := child(d.node(), "items")
		if items == nil || !strings.HasSuffix(d.GVK.Kind, "List") {
			d.decode()(yield)
			return
		}
		var list struct{ Items []json.RawMessage }
		items = resolve(items)
		if err := json.Unmarshal(d.Raw, &list); err != nil || len(list.Items) != len(items.Content) {
			yield(nil, d.errorAt(items, "the items are no list"))
			return
		}
		for i, raw := range list.Items {
			item := &Document{File: d.File, Raw: raw, chunk: d.chunk}
			item.within = append(slices.Clone(d.within), "items", strconv.Itoa(i))
			for doc, err := range item.objects() {
				if !yield(doc, err) {
					return
				}
			}
		}
	}
}

// identify reads what the document says it is.
func (d *Document) identify() error {
	if d.node().Kind != yaml.MappingNode {
		return d.errorAt(d.node(), "the item is no object")
	}
	var head struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
	}
	_, version := child(d.node(), "apiVersion")
	_, kind := child(d.node(), "kind")
	if version == nil || kind == nil || json.Unmarshal(d.Raw, &head) != nil || head.APIVersion == "" || head.Kind == "" {
		return d.errorAt(d.node(), "the document has no apiVersion and kind")
	}
	d.GVK = apischema.FromAPIVersionAndKind(head.APIVersion, head.Kind)
	d.Kind = analysis.KindFor(d.GVK)
	if d.Kind == nil {
		for _, k := range analysis.Kinds() {
			if k.GroupKind == d.GVK.GroupKind() {
				return d.errorAt(resolve(version), fmt.Sprintf("%s has no version %s, only %s", k.Kind, d.GVK.Version, strings.Join(k.Versions, ", ")))
			}
		}
	}
	return nil
}

// decode yields the document with its object; or if there cannot be one, the
// reasons, as far as they can be told, at their places.
func (d *Document) decode() iter.Seq2[*Document, error] {
	return func(yield func(*Document, error) bool) {
		if d.Kind == nil {
			yield(d, nil)
			return
		}
		raw := d.Raw
		if schema.Has(d.Kind) {
			d.Problems = d.outerProblems()
			var misfits []*Error
			raw, misfits = d.prune()
			d.Problems = append(d.Problems, misfits...)
		}
		obj, err := Decode(d.GVK, raw)
		if err == nil {
			d.Object = obj
			yield(d, nil)
			return
		}
		for _, u := range d.Unknown {
			d.Problems = append(d.Problems, d.errorAtPath(u.Path, u.String()))
		}
		if len(d.Problems) == 0 {
			yield(nil, d.errorAt(d.node(), fmt.Sprintf("%s cannot be decoded: %v", d.GVK.Kind, err)))
			return
		}
		for _, p := range d.Problems {
			if !yield(nil, p) {
				return
			}
		}
	}
}

func (d *Document) errorAt(node *yaml.Node, message string) *Error {
	return &Error{File: d.File, Position: d.position(nil, node), Message: message}
}
