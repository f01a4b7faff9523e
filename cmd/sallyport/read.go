// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"os"
	"runtime"

	"golang.org/x/sync/errgroup"

	"github.com/sallyport-dev/sallyport/rules/manifest"
)

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
	files := listAll(paths, fail)
	var size int64
	for _, f := range files {
		size += f.size
	}
	r.progress.begin("reading", size)
	for len(files) > 0 {
		batch := files[:aheadOf(files)]
		files = files[len(batch):]
		if len(batch) == 1 {
			r.readFile(batch[0].path, add, fail)
			continue
		}
		for _, content := range r.readFiles(batch) {
			content.give(add, fail)
		}
	}
}

// How much is read before its documents are looked at.
const (
	filesAhead = 64
	bytesAhead = 4 << 20
)

// aheadOf returns how many files to read at once: at least one, and no other with one
// that is large or may be.
func aheadOf(files []sizedFile) int {
	var size int64
	for i, f := range files {
		size += f.size
		if i == filesAhead || i > 0 && (f.size == 0 || size > bytesAhead) {
			return i
		}
		if f.size == 0 {
			return 1
		}
	}
	return len(files)
}

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

func (r *documentReader) readFiles(files []sizedFile) []fileContent {
	contents := make([]fileContent, len(files))
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, file := range files {
		content := &contents[i]
		group.Go(func() error {
			r.readFile(file.path,
				func(doc *manifest.Document) { *content = append(*content, documentOrError{doc: doc}) },
				func(err error) { *content = append(*content, documentOrError{err: err}) })
			return nil
		})
	}
	_ = group.Wait() // errors are among the contents
	return contents
}

func (r *documentReader) readFile(file string, add func(*manifest.Document), fail func(error)) {
	reader := r.stdin
	if file != stdinName {
		f, err := os.Open(file)
		if err != nil {
			fail(err)
			return
		}
		defer f.Close()
		reader = f
	}
	eachDocument(displayName(file), r.progress.reader(reader), add, fail)
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
