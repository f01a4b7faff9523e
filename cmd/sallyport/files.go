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
	"strings"

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

// A sizedFile is a file and how many bytes it has; 0 if that is not known, as of a pipe.
type sizedFile struct {
	path string
	size int64
}

// listAll returns the files of all paths, each once.
func listAll(paths []string, fail func(error)) []sizedFile {
	var files []sizedFile
	seen := map[string]bool{}
	for _, path := range paths {
		listed, err := listFiles(path)
		for _, err := range separate(err) {
			fail(err)
		}
		for _, file := range listed {
			name := filepath.Clean(file)
			if seen[name] {
				continue
			}
			seen[name] = true
			f := sizedFile{path: file}
			if info, err := os.Stat(file); err == nil {
				f.size = info.Size()
			}
			files = append(files, f)
		}
	}
	return files
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
