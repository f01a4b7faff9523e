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

	"golang.org/x/sync/errgroup"

	"github.com/sallyport-dev/sallyport/rules/manifest"
	"github.com/sallyport-dev/sallyport/rules/policy"
)

// stdinName stands for standard input among the paths.
const stdinName = "-"

var manifestSuffixes = []string{".yaml", ".yml", ".json"}

// listFiles returns the files that a path stands for: itself, or if it is a
// folder, the YAML and JSON files below it. Symbolic links in folders are not
// followed, so that none leads in circles.
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
	err = filepath.WalkDir(path, func(file string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() && slices.Contains(manifestSuffixes, filepath.Ext(file)) {
			files = append(files, file)
		}
		return err
	})
	return files, err
}

// readDocuments gives every document of the paths to add, in their order, and
// everything that cannot be read to fail, and goes on. Files are read on all cores.
func readDocuments(paths []string, stdin io.Reader, add func(*manifest.Document), fail func(error)) {
	for _, path := range paths {
		files, err := listFiles(path)
		if err != nil {
			fail(err)
		}
		for batch := range slices.Chunk(files, filesAhead) {
			for _, read := range readFiles(batch, stdin) {
				read.give(add, fail)
			}
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

func readFiles(files []string, stdin io.Reader) []fileContent {
	contents := make([]fileContent, len(files))
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, file := range files {
		group.Go(func() error {
			contents[i] = readFile(file, stdin)
			return nil
		})
	}
	_ = group.Wait() // errors are among the contents
	return contents
}

func readFile(file string, stdin io.Reader) (content fileContent) {
	reader := stdin
	if file != stdinName {
		f, err := os.Open(file)
		if err != nil {
			return fileContent{{err: err}}
		}
		defer f.Close()
		reader = f
	}
	eachDocument(displayName(file), reader,
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
