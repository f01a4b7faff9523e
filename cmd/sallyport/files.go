// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

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

// readDocuments gives every document of the paths to add, and everything that
// cannot be read to fail, and goes on.
func readDocuments(paths []string, stdin io.Reader, add func(*manifest.Document), fail func(error)) {
	for _, path := range paths {
		files, err := listFiles(path)
		if err != nil {
			fail(err)
		}
		for _, file := range files {
			if err := readFile(file, stdin, add, fail); err != nil {
				fail(err)
			}
		}
	}
}

func readFile(file string, stdin io.Reader, add func(*manifest.Document), fail func(error)) error {
	reader := stdin
	if file != stdinName {
		f, err := os.Open(file)
		if err != nil {
			return err
		}
		defer f.Close()
		reader = f
	}
	eachDocument(displayName(file), reader, add, fail)
	return nil
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
