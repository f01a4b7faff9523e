// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/sallyport-dev/sallyport/rules/analysis"
)

// An Edit is a document and what shall be changed in it.
type Edit struct {
	Document   *Document
	Operations []analysis.Operation
}

// Apply returns the text of a file with the edits made in it, which are in the
// order of [Documents]. Everything that they are not about stays as it is, byte
// for byte. An edit that cannot be made is left out altogether and told, as an
// *[Error].
func Apply(text []byte, edits []Edit) (edited []byte, refused []error) {
	var out bytes.Buffer
	pos := 0
	for len(edits) > 0 {
		c := edits[0].Document.chunk
		if end := c.offset + len(c.text); c.offset < pos || end > len(text) || !bytes.Equal(text[c.offset:end], c.text) {
			return text, []error{fmt.Errorf("%s is not the text that its documents were read from", edits[0].Document.File)}
		}
		out.Write(text[pos:c.offset])
		pos = c.offset + len(c.text)
		changed := c.text
		for len(edits) > 0 && edits[0].Document.offset == c.offset {
			next, err := edits[0].Document.edit(changed, edits[0].Operations)
			if err != nil {
				refused = append(refused, err)
			} else {
				changed = next
			}
			edits = edits[1:]
		}
		out.Write(changed)
	}
	out.Write(text[pos:])
	return out.Bytes(), refused
}

// edit returns the text of the document, which may have been changed around it,
// with the operations made.
func (d *Document) edit(text []byte, ops []analysis.Operation) ([]byte, error) {
	want, anchors, err := d.expect(text, ops)
	if err != nil {
		return nil, d.refuse(nil, err)
	}
	for _, op := range ops {
		path := splitPointer(op.Path)
		if text, err = editText(text, slices.Concat(d.within, path), op); err != nil {
			return nil, d.refuse(path, err)
		}
	}
	if err := verify(text, want, anchors); err != nil {
		return nil, d.refuse(nil, err)
	}
	return text, nil
}

// refuse tells that an operation cannot be made: at its path, or if the reason
// is a [blockedError], where that says.
func (d *Document) refuse(path []string, reason error) *Error {
	if blocked, ok := errors.AsType[*blockedError](reason); ok {
		path = path[:max(0, min(blocked.depth-len(d.within), len(path)))]
	}
	at := d.position(nil, d.node)
	for n := range path {
		if p, ok := d.positionAt(path[:n+1]); ok {
			at = p
		}
	}
	message := "cannot be fixed: " + strings.TrimPrefix(reason.Error(), "yaml: ")
	if len(path) > 0 {
		message = fieldPath(path) + " " + message
	}
	return &Error{File: d.File, Position: at, Path: fieldPath(path), Message: message}
}

// fieldPath writes a path like [field.Path].
func fieldPath(segments []string) string {
	var b strings.Builder
	for i, s := range segments {
		_, err := strconv.Atoi(s)
		switch {
		case err == nil || s == "-" || strings.ContainsAny(s, "./"):
			b.WriteString("[" + s + "]")
		case i > 0:
			b.WriteString("." + s)
		default:
			b.WriteString(s)
		}
	}
	return b.String()
}

var pointerUnescapes = strings.NewReplacer("~1", "/", "~0", "~")

func splitPointer(pointer string) []string {
	segments := strings.Split(strings.TrimPrefix(pointer, "/"), "/")
	for i, s := range segments {
		segments[i] = pointerUnescapes.Replace(s)
	}
	return segments
}
