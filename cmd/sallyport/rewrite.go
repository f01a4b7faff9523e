// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/pmezard/go-difflib/difflib"
)

// writeDiff writes a unified diff as git and patch -p1 read it.
func writeDiff(w io.Writer, name string, before, after []byte) error {
	path := strings.TrimPrefix(filepath.ToSlash(name), "/")
	return difflib.WriteUnifiedDiff(w, difflib.UnifiedDiff{
		A: diffLines(before), FromFile: "a/" + path,
		B: diffLines(after), ToFile: "b/" + path,
		Context: 3,
	})
}

func diffLines(text []byte) []string {
	lines := strings.SplitAfter(string(text), "\n")
	if last := len(lines) - 1; lines[last] == "" {
		lines = lines[:last]
	} else {
		lines[last] += "\n\\ No newline at end of file\n"
	}
	return lines
}

// replaceFile puts another text into a file, which keeps its mode, at one stroke:
// who reads it finds the old text or the new one, also after a crash.
func replaceFile(path string, text []byte) (err error) {
	path, err = filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(file.Name()))
		}
	}()
	if err := fill(file, text, info.Mode()); err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}

// fill writes the text to the disk and closes the file.
func fill(file *os.File, text []byte, mode os.FileMode) error {
	defer file.Close() // after an error; a second close does nothing
	if _, err := file.Write(text); err != nil {
		return err
	}
	if err := file.Chmod(mode.Perm()); err != nil {
		return err
	}
	if err := file.Sync(); err != nil {
		return err
	}
	return file.Close()
}
