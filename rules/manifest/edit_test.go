// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"encoding/json"
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
		cases := map[string]string{}
		for _, f := range archive.Files {
			require.NotContains(t, cases, f.Name)
			cases[f.Name] = string(f.Data)
		}
		var updated txtar.Archive
		updated.Comment = archive.Comment
		for _, f := range archive.Files {
			name, ok := strings.CutSuffix(f.Name, ".in")
			if !ok {
				continue
			}
			text := escapes.Replace(cases[f.Name])
			got, refused := Apply([]byte(text), parseEdits(t, text, cases[name+".ops"]))
			out, problem := unescape(string(got)), ""
			for _, err := range refused {
				problem += err.Error() + "\n"
			}
			if out == cases[f.Name] {
				out = ""
			}
			updated.Files = append(updated.Files, f, txtar.File{Name: name + ".ops", Data: []byte(cases[name+".ops"])})
			if out != "" {
				updated.Files = append(updated.Files, txtar.File{Name: name + ".out", Data: []byte(out)})
			}
			if problem != "" {
				updated.Files = append(updated.Files, txtar.File{Name: name + ".err", Data: []byte(problem)})
			}
			if *update {
				continue
			}
			t.Run(filepath.Base(file)+"/"+name, func(t *testing.T) {
				require.Equal(t, cases[name+".out"], out)
				require.Equal(t, cases[name+".err"], problem)
				require.False(t, out == "" && problem == "", "the case does nothing")
			})
		}
		if *update {
			require.NoError(t, os.WriteFile(file, txtar.Format(&updated), 0o600))
		}
	}
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
