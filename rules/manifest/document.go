// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"bytes"
	"fmt"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/sallyport-dev/sallyport/rules/analysis"
)

// A Document is one object of a file.
type Document struct {
	// File is the name that was given to [Documents].
	File string
	// GVK is what the document says it is.
	GVK schema.GroupVersionKind
	// Kind is nil for kinds that Sallyport does not know; then so is Object.
	Kind *analysis.Kind
	// Object is the typed object, as the API server would keep it.
	Object analysis.Object
	// Raw is the object as JSON, as kubectl would send it.
	Raw []byte
	// Unknown are fields of the spec that the API server would drop, and values
	// that it would refuse, although Istio's decoder may take them.
	Unknown []analysis.UnknownField
	// Problems are unknown fields around the spec, and values in it that cannot
	// be what they are written as.
	Problems []*Error

	within []string // the path to an item of a List
	*chunk
}

// A Position is a place in a file; lines and columns count from 1.
type Position struct {
	Line, Column int
	// Width is the number of bytes that the value there takes on the line.
	Width int
}

// An Error is a fault of the input, at a place in a file.
type Error struct {
	File string
	Position
	// Path is the field, if the fault is about one.
	Path    string
	Message string
}

// Error implements error.
func (e *Error) Error() string {
	return fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, e.Message)
}

// Position returns the place of the field at a path as [field.Path] prints it.
// A field that is absent is at its parent. It reports false if the path leads
// nowhere before its last segment. The text is parsed again for it, once until
// [Document.Forget]; so it is not safe for concurrent use by items of one List.
func (d *Document) Position(path string) (Position, bool) {
	return d.positionAt(analysis.SplitPath(path))
}

func (d *Document) positionAt(segments []string) (Position, bool) {
	node := d.node()
	at := d.position(nil, node)
	for i, s := range segments {
		key, value := child(node, s)
		if value == nil {
			return at, i == len(segments)-1
		}
		at = d.position(key, value)
		node = resolve(value)
	}
	return at, true
}

// node returns the node of the object.
func (d *Document) node() *yaml.Node {
	node := d.chunk.node()
	for _, segment := range d.within {
		_, node = child(node, segment)
		node = resolve(node)
	}
	return node
}

// Forget frees what [Document.Position] keeps, which takes many times the memory of
// the text: for all items of a List at once.
func (d *Document) Forget() { d.root = nil }

// SharesText reports whether two documents are items of one List.
func (d *Document) SharesText(other *Document) bool { return d.chunk == other.chunk }

// position is where a human looks for a value: at the value if it stands on the
// line of its key, else at the key.
func (d *Document) position(key, value *yaml.Node) Position {
	node := value
	if key != nil && value.Line > key.Line {
		node = key
	}
	p := Position{Line: d.line + clampLine(d.text, node.Line), Column: max(node.Column, 1), Width: 1}
	if node.Kind == yaml.AliasNode {
		p.Width = len("*" + node.Value)
	}
	if node.Kind == yaml.ScalarNode && node.Style&(yaml.LiteralStyle|yaml.FoldedStyle) == 0 {
		p.Width = max(len(node.Value), 1)
		if node.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) != 0 {
			p.Width += 2
		}
	}
	return p
}

// SourceLine returns a line of the file, by its number in it, without the line
// break. It returns "" for lines outside the document.
func (d *Document) SourceLine(line int) string {
	n := line - d.line
	for text := range bytes.Lines(d.text) {
		if n--; n == 0 {
			return string(bytes.TrimRight(text, "\r\n"))
		}
	}
	return ""
}
