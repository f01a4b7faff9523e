// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"

	"github.com/sallyport-dev/sallyport/rules/suite"
)

const archiveSuffix = ".txtar"

// readSuites returns the suites that paths stand for, each once, and tells fail of what
// cannot be read. In a folder, archives without cases are those of others.
func readSuites(paths []string, fail func(error)) []*suite.Suite {
	r := &suiteReader{fail: fail, seen: map[string]bool{}}
	for _, path := range paths {
		info, err := os.Stat(path)
		switch {
		case err != nil:
			fail(err)
		case info.IsDir():
			r.folder(path)
		default:
			r.archive(path, true)
		}
	}
	return r.suites
}

type suiteReader struct {
	fail   func(error)
	seen   map[string]bool
	suites []*suite.Suite
}

// folder reads the suites below a folder: it can be one itself.
func (r *suiteReader) folder(root string) {
	err := filepath.WalkDir(root, func(file string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			r.fail(err)
		case entry.IsDir() && isSuite(file):
			r.add(file, func() (*suite.Suite, error) { return readSuite(file) })
		case entry.IsDir() && slices.Contains(suite.Folders(), entry.Name()) && isSuite(filepath.Dir(file)):
			return filepath.SkipDir
		case filepath.Ext(file) == archiveSuffix:
			r.archive(file, false)
		}
		return nil
	})
	if err != nil {
		r.fail(err)
	}
}

// isSuite reports whether a folder has a case.
func isSuite(folder string) bool {
	for _, sub := range suite.Folders() {
		entries, err := os.ReadDir(filepath.Join(folder, sub))
		if err == nil && slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return suite.IsCase(path.Join(sub, e.Name())) }) {
			return true
		}
	}
	return false
}

// archive reads an archive; if it is wanted for itself it must have a case.
func (r *suiteReader) archive(file string, wanted bool) {
	data, err := os.ReadFile(file)
	if err != nil {
		r.fail(err)
		return
	}
	if !suite.HasCases(data) {
		if wanted {
			r.fail(fmt.Errorf("%s: want a folder, or a txtar archive with files below allow/ or deny/", file))
		}
		return
	}
	r.add(file, func() (*suite.Suite, error) { return suite.Parse(filepath.ToSlash(file), data) })
}

func (r *suiteReader) add(file string, read func() (*suite.Suite, error)) {
	if r.seen[filepath.Clean(file)] {
		return
	}
	r.seen[filepath.Clean(file)] = true
	s, err := read()
	if err != nil {
		r.fail(err)
		return
	}
	r.suites = append(r.suites, s)
}

// readSuite reads the files of a suite: YAML and JSON in its folder and in those right
// below it, unless these are suites themselves.
func readSuite(folder string) (*suite.Suite, error) {
	root := os.DirFS(folder)
	var files []suite.File
	for _, pattern := range []string{"*", "*/*"} {
		names, err := fs.Glob(root, pattern)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			if !slices.Contains(manifestSuffixes, path.Ext(name)) || pattern != "*" && isSuite(filepath.Join(folder, path.Dir(name))) {
				continue
			}
			data, err := fs.ReadFile(root, name)
			if err != nil {
				return nil, err
			}
			files = append(files, suite.File{Name: name, Path: filepath.ToSlash(filepath.Join(folder, name)), Data: data})
		}
	}
	return suite.New(filepath.ToSlash(filepath.Clean(folder)), files)
}
