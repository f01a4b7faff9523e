// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/sallyport-dev/sallyport/rules/manifest"
	"github.com/sallyport-dev/sallyport/rules/policy"
)

// stdinName stands for standard input among the paths.
const stdinName = "-"

var manifestSuffixes = []string{".yaml", ".yml", ".json"}

// listFiles returns the files that a path stands for: itself, or if it is a
// folder, the YAML and JSON files below it. Symbolic links in folders are followed to
// files, but not to folders, so that none leads in circles. What cannot be read is an
// error, and all else is returned with it.
func listFiles(path string) ([]string, error) {
	if path == stdinName {
		return []string{path}, nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	var files []string
	var errs []error
	walked := filepath.WalkDir(path, func(file string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() && isKubeletFolder(entry.Name()) {
			return filepath.SkipDir
		}
		if err == nil && slices.Contains(manifestSuffixes, filepath.Ext(file)) && !entry.IsDir() {
			info, err = os.Stat(file)
			if err == nil && info.Mode().IsRegular() {
				files = append(files, file)
			}
		}
		errs = append(errs, err)
		return nil
	})
	return files, errors.Join(append(errs, walked)...)
}

// isKubeletFolder reports whether a folder is where the kubelet puts what a volume's
// files are links to.
func isKubeletFolder(name string) bool { return strings.HasPrefix(name, "..") && len(name) > 2 }

// listAll returns the files of all paths, each once, and what they have in bytes as far
// as that is known.
func listAll(paths []string, fail func(error)) (files []string, size int64) {
	seen := map[string]bool{}
	for _, path := range paths {
		listed, err := listFiles(path)
		for _, err := range separate(err) {
			fail(err)
		}
		for _, file := range listed {
			if name := filepath.Clean(file); !seen[name] {
				seen[name] = true
				files = append(files, file)
			}
			if info, err := os.Stat(file); err == nil {
				size += info.Size()
			}
		}
	}
	return files, size
}

// separate returns the errors that [errors.Join] has joined.
func separate(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	if err == nil {
		return nil
	}
	return []error{err}
}

// readDocuments gives every document of the paths to add, in their order, and
// everything that cannot be read to fail, and goes on. Files are read on all cores.
func readDocuments(paths []string, stdin io.Reader, add func(*manifest.Document), fail func(error)) {
	r := &documentReader{stdin: stdin, progress: new(progress)}
	r.read(paths, add, fail)
}

// A documentReader reads files, and says how far it is.
type documentReader struct {
	stdin    io.Reader
	progress *progress
}

func (r *documentReader) read(paths []string, add func(*manifest.Document), fail func(error)) {
	files, size := listAll(paths, fail)
	r.progress.begin("reading", size)
	for batch := range slices.Chunk(files, filesAhead) {
		for _, content := range r.readFiles(batch) {
			content.give(add, fail)
		}
	}
}

// filesAhead bounds how many files are read before their documents are looked at.
const filesAhead = 64

// A fileContent is what is in a file, in its order.
type fileContent []documentOrError

type documentOrError struct {
	doc *manifest.Document
	err error
}

func (c fileContent) give(add func(*manifest.Document), fail func(error)) {
	for _, entry := range c {
		if entry.err != nil {
			fail(entry.err)
		} else {
			add(entry.doc)
		}
	}
}

func (r *documentReader) readFiles(files []string) []fileContent {
	contents := make([]fileContent, len(files))
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, file := range files {
		group.Go(func() error {
			contents[i] = r.readFile(file)
			return nil
		})
	}
	_ = group.Wait() // errors are among the contents
	return contents
}

func (r *documentReader) readFile(file string) (content fileContent) {
	reader := r.stdin
	if file != stdinName {
		f, err := os.Open(file)
		if err != nil {
			return fileContent{{err: err}}
		}
		defer f.Close()
		reader = f
	}
	eachDocument(displayName(file), r.progress.reader(reader),
		func(doc *manifest.Document) { content = append(content, documentOrError{doc: doc}) },
		func(err error) { content = append(content, documentOrError{err: err}) })
	return content
}

// displayName is what messages call a file.
func displayName(file string) string {
	if file == stdinName {
		return "<stdin>"
	}
	return file
}

func eachDocument(name string, r io.Reader, add func(*manifest.Document), fail func(error)) {
	for doc, err := range manifest.Documents(name, r) {
		if err != nil {
			fail(err)
			continue
		}
		for _, problem := range doc.Problems {
			fail(problem)
		}
		add(doc)
	}
}

// readPolicies reads the files of --policy and returns the effective policy of
// each namespace; without any it is the built-in default.
func readPolicies(paths []string, stdin io.Reader) (func(namespace string) *policy.Policy, error) {
	docs, err := readPolicyDocuments(paths, stdin)
	if err != nil {
		return nil, err
	}
	policyFor, err := docs.Compile()
	if err != nil {
		return nil, fmt.Errorf("--policy: %w", err)
	}
	return policyFor, nil
}

func readPolicyDocuments(paths []string, stdin io.Reader) (*policy.Documents, error) {
	docs := new(policy.Documents)
	var errs []error
	for _, path := range paths {
		files, err := listFiles(path)
		errs = append(errs, err)
		for _, file := range files {
			data, err := readAll(file, stdin)
			if err == nil {
				err = docs.Parse(file, data)
			}
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("--policy: %w", err)
	}
	return docs, nil
}

func readAll(file string, stdin io.Reader) ([]byte, error) {
	if file == stdinName {
		return io.ReadAll(stdin)
	}
	return os.ReadFile(file)
}
