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
		n := 0
		for n < len(edits) && edits[n].Document.chunk == c {
			n++
		}
		changed, errs := applyTo(c.text, edits[:n])
		out.Write(changed)
		refused = append(refused, errs...)
		edits = edits[n:]
	}
	out.Write(text[pos:])
	return out.Bytes(), refused
}

// applyTo makes edits of the items of one document: all at once, since a List may
// be long, or if that fails, those of one half after those of the other.
func applyTo(text []byte, edits []Edit) (edited []byte, refused []error) {
	edited, path, err := applyAll(text, edits)
	switch {
	case err == nil:
		return edited, nil
	case len(edits) == 1:
		return text, []error{edits[0].Document.refuse(path, err)}
	}
	half := len(edits) / 2
	edited, refused = applyTo(text, edits[:half])
	edited, errs := applyTo(edited, edits[half:])
	return edited, append(refused, errs...)
}

// applyAll makes all edits or none: in each round an operation of every item, for
// items do not overlap. An error is about the path, if there is one.
func applyAll(text []byte, edits []Edit) (edited []byte, path []string, err error) {
	defer func() {
		if v := recover(); v == any(errMisfit) {
			err = errMisfit
		} else if v != nil {
			panic(v)
		}
	}()
	want, anchors, err := expect(text, edits)
	if err != nil {
		return nil, nil, err
	}
	for round := range longest(edits) {
		t, err := parseTree(text)
		if err != nil {
			return nil, nil, err
		}
		var splices []splice
		for _, e := range edits {
			if round >= len(e.Operations) {
				continue
			}
			op := e.Operations[round]
			path = splitPointer(op.Path)
			s, err := t.operate(slices.Concat(e.Document.within, path), op)
			if err != nil {
				return nil, path, err
			}
			splices = append(splices, s...)
		}
		text = t.spliced(splices)
	}
	return text, nil, verify(text, want, anchors)
}

func longest(edits []Edit) int {
	n := 0
	for _, e := range edits {
		n = max(n, len(e.Operations))
	}
	return n
}

// refuse tells that an operation cannot be made: at its path, or if the reason
// is a [blockedError], where that says.
func (d *Document) refuse(path []string, reason error) *Error {
	if blocked, ok := errors.AsType[*blockedError](reason); ok {
		path = path[:max(0, min(blocked.depth-len(d.within), len(path)))]
	}
	at := d.position(nil, d.node())
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
