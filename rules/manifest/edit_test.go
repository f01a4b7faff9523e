// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/tools/txtar"

	"github.com/sallyport-dev/sallyport/rules/analysis"
)

var update = flag.Bool("update", false, "rewrite the expected results in testdata/edit")

// TestEdit makes the operations of each case of testdata/edit: the file NAME.ops
// has one a line, behind "@N" those of the N-th document, in NAME.in, from which
// NAME.out comes, and NAME.err for what is refused. In the texts "<tab>", "<cr>"
// and "<end>" stand for a tab, a carriage return and the end without line break.
func TestEdit(t *testing.T) {
	files, err := filepath.Glob("testdata/edit/*.txtar")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		require.NoError(t, err)
		updated := &txtar.Archive{Comment: archive.Comment}
		for i, f := range archive.Files {
			if name, ok := strings.CutSuffix(f.Name, ".in"); ok {
				require.Equal(t, name+".ops", archive.Files[i+1].Name)
				t.Run(name, func(t *testing.T) {
					updated.Files = append(updated.Files, editCase(t, name, f, archive.Files[i+1])...)
				})
			}
		}
		if *update {
			require.NoError(t, os.WriteFile(file, txtar.Format(updated), 0o600))
			continue
		}
		require.Equal(t, string(txtar.Format(archive)), string(txtar.Format(updated)))
	}
}

// editCase returns the files of a case as they should be.
func editCase(t *testing.T, name string, in, ops txtar.File) []txtar.File {
	t.Helper()
	files := []txtar.File{in, ops}
	text := escapes.Replace(string(in.Data))
	got, refused := Apply([]byte(text), parseEdits(t, text, string(ops.Data)))
	if string(got) != text {
		files = append(files, txtar.File{Name: name + ".out", Data: []byte(unescape(string(got)))})
	}
	if len(refused) > 0 {
		files = append(files, txtar.File{Name: name + ".err", Data: []byte(errors.Join(refused...).Error())})
	}
	require.Greater(t, len(files), 2, "the case does nothing")
	return files
}

var escapes = strings.NewReplacer("<tab>", "\t", "<cr>", "\r", "<end>\n", "")

func unescape(text string) string {
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "<end>\n"
	}
	return strings.NewReplacer("\t", "<tab>", "\r", "<cr>").Replace(text)
}

// parseEdits reads lines such as "add /spec/hosts ["a"]".
func parseEdits(t *testing.T, text, lines string) []Edit {
	t.Helper()
	var edits []Edit
	for doc, err := range Documents("f.yaml", strings.NewReader(text)) {
		require.NoError(t, err)
		edits = append(edits, Edit{Document: doc})
	}
	n := 0
	for line := range strings.Lines(lines) {
		if number, ok := strings.CutPrefix(strings.TrimSpace(line), "@"); ok {
			require.NoError(t, json.Unmarshal([]byte(number), &n))
			continue
		}
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		path, value, _ := strings.Cut(rest, " ")
		edits[n].Operations = append(edits[n].Operations, analysis.Operation{Op: word, Path: path, Value: json.RawMessage(value)})
	}
	return edits
}
