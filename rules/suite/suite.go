// SPDX-License-Identifier: Apache-2.0

// Package suite runs tests that users write of their policies: objects, and what is
// expected of them. A suite is a txtar archive, or a folder, of these files:
//
//	allow/NAME.yaml   objects of which nothing is denied
//	deny/NAME.yaml    objects of which something is denied
//	old/NAME.yaml     the objects of allow/NAME.yaml or deny/NAME.yaml before an update // optional
//	out/NAME.yaml     those objects as they are stored, with all defaults // optional
//	mesh/NAME.yaml    other objects of the mesh, for all cases // optional
//	policy.yaml       EgressPolicies, EgressExemptions, Namespaces // optional
//	policies/*.yaml   more of them // optional
//	config.yaml       a Configuration // optional
//
// NAME.policy.yaml and NAME.config.yaml beside a case take the place of the suite's
// for that case. A line "# at TIME" sets its clock. Comments in a case say which findings are due; see [Expectation].
// Each finding that denies must be expected; others may be.
package suite

import (
	"bytes"
	"fmt"
	"path"
	"slices"
	"strings"

	"golang.org/x/tools/txtar"
)

// A File is one of a suite.
type File struct {
	// Name is the path within the suite, such as "deny/wildcard.yaml".
	Name string
	// Path is what messages call the file that the text is in, and Line the number
	// of lines that stand before it there.
	Path string
	Line int
	Data []byte
}

// A Suite is objects, and what is expected of them.
type Suite struct {
	// Name is the path of the archive or the folder.
	Name  string
	files []File
}

// Parse returns the suite in a txtar archive.
func Parse(name string, archive []byte) (*Suite, error) {
	a := txtar.Parse(archive)
	var files []File
	line := bytes.Count(a.Comment, []byte("\n"))
	for _, f := range a.Files {
		line++ // the marker's
		files = append(files, File{Name: f.Name, Path: name, Line: line, Data: f.Data})
		line += bytes.Count(f.Data, []byte("\n"))
	}
	return New(name, files)
}

// New returns the suite of files.
func New(name string, files []File) (*Suite, error) {
	s := &Suite{Name: name, files: files}
	seen := map[string]bool{}
	for i := range files {
		f := &files[i]
		if seen[f.Name] {
			return nil, f.errorf(0, "%s stands twice", f.Name)
		}
		seen[f.Name] = true
	}
	for i := range files {
		if err := s.place(&files[i]); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// HasCases reports whether a txtar archive is a suite: others have other files.
func HasCases(archive []byte) bool {
	return slices.ContainsFunc(txtar.Parse(archive).Files, func(f txtar.File) bool { return IsCase(f.Name) })
}

// IsCase reports whether a file of the name is what makes a suite: a case.
func IsCase(name string) bool {
	folder := path.Dir(name)
	return (folder == allow || folder == deny) && isYAML(name) && !isOverride(name)
}

// Folders are those that a suite can have.
func Folders() []string { return []string{allow, deny, "old", "out", "mesh", "policies"} }

const (
	allow = "allow"
	deny  = "deny"

	policySuffix = ".policy"
	configSuffix = ".config"
)

func isYAML(name string) bool {
	return slices.Contains([]string{".yaml", ".yml", ".json"}, path.Ext(name))
}

func stem(name string) string { return strings.TrimSuffix(name, path.Ext(name)) }

func isOverride(name string) bool {
	return strings.HasSuffix(stem(name), policySuffix) || strings.HasSuffix(stem(name), configSuffix)
}

// place returns an error for a file that has no place in a suite.
func (s *Suite) place(f *File) error {
	folder, base := path.Dir(f.Name), stem(path.Base(f.Name))
	switch {
	case !isYAML(f.Name):
		return f.errorf(0, "%s: want a name that ends in .yaml, .yml or .json", f.Name)
	case folder == "." && (base == "policy" || base == "config"), folder == "mesh", folder == "policies":
		return nil
	case folder == allow || folder == deny:
		return s.placeOverride(f)
	case folder == "old" || folder == "out":
		if s.find(allow+"/"+base) == nil && s.find(deny+"/"+base) == nil {
			return f.errorf(0, "%s belongs to no case: want an object of that name in allow or deny", f.Name)
		}
		return nil
	default:
		return f.errorf(0, "%s has no place in a suite: want policy.yaml, config.yaml, or a file in %s", f.Name, strings.Join(Folders(), ", "))
	}
}

func (s *Suite) placeOverride(f *File) error {
	of := strings.TrimSuffix(strings.TrimSuffix(stem(f.Name), policySuffix), configSuffix)
	if isOverride(f.Name) && s.find(of) == nil {
		return f.errorf(0, "%s belongs to no case: %s.yaml is missing", f.Name, of)
	}
	return nil
}

// find returns a file by its name without the suffix, or nil.
func (s *Suite) find(stemmed string) *File {
	for i := range s.files {
		if stem(s.files[i].Name) == stemmed {
			return &s.files[i]
		}
	}
	return nil
}

// in returns the files of a folder, in their order.
func (s *Suite) in(folder string) []*File {
	var files []*File
	for i := range s.files {
		if f := &s.files[i]; path.Dir(f.Name) == folder {
			files = append(files, f)
		}
	}
	return files
}

// An Error is something that is not as expected, with its place in a file. Line is 0
// if it is about all of a file.
type Error struct {
	File         string
	Line, Column int
	Message      string
}

// Error implements error.
func (p *Error) Error() string {
	switch {
	case p.Line == 0:
		return p.File + ": " + p.Message
	case p.Column == 0:
		return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Message)
	default:
		return fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Column, p.Message)
	}
}

// errorf returns a problem on a line of the file.
func (f *File) errorf(line int, format string, args ...any) *Error {
	p := &Error{File: f.Path, Message: fmt.Sprintf(format, args...)}
	if line > 0 || f.Line > 0 {
		p.Line = f.Line + max(line, 1)
	}
	return p
}
