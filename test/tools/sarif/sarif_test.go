// SPDX-License-Identifier: Apache-2.0

package sarif

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/owenrumney/go-sarif/v3/pkg/report/v210/sarif"
	"github.com/stretchr/testify/require"
	"github.com/xeipuuv/gojsonschema"
)

// loadSchema returns the JSON schema of SARIF 2.1.0, which go-sarif has as a
// constant. Its own Validate is for reports that have gone through its types, so
// that unknown properties are lost before the schema could refuse them.
func loadSchema(t *testing.T) *gojsonschema.Schema {
	t.Helper()
	dir, err := exec.CommandContext(t.Context(), "go", "list", "-f", "{{.Dir}}", reflect.TypeFor[sarif.Report]().PkgPath()).Output()
	require.NoError(t, err)
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(strings.TrimSpace(string(dir)), "schema.go"), nil, 0)
	require.NoError(t, err)
	spec, ok := file.Scope.Lookup("schema").Decl.(*ast.ValueSpec)
	require.True(t, ok)
	text, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
	require.NoError(t, err)
	schema, err := gojsonschema.NewSchema(gojsonschema.NewStringLoader(text))
	require.NoError(t, err)
	return schema
}

func validate(t *testing.T, schema *gojsonschema.Schema, document string) []gojsonschema.ResultError {
	t.Helper()
	result, err := schema.Validate(gojsonschema.NewStringLoader(document))
	require.NoError(t, err)
	return result.Errors()
}

// TestValid validates the reports that the tests of rules/lint expect.
func TestValid(t *testing.T) {
	schema := loadSchema(t)
	files, err := filepath.Glob("../../../rules/lint/testdata/*.sarif")
	require.NoError(t, err)
	require.Len(t, files, 5)
	for _, file := range files {
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		require.Empty(t, validate(t, schema, string(data)), file)
	}
}

// TestInvalid: the schema does refuse what is wrong.
func TestInvalid(t *testing.T) {
	schema := loadSchema(t)
	data, err := os.ReadFile("../../../rules/lint/testdata/report.sarif")
	require.NoError(t, err)
	for _, change := range [][2]string{
		{`"level": "error"`, `"level": "grave"`},
		{`"startLine": 4`, `"startLine": 0`},
		{`"ruleIndex": 4`, `"ruleIndex": -2`},
		{`"kind": "external"`, `"kind": "elsewhere"`},
		{`"executionSuccessful": true`, `"successful": true`},
		{`"columnKind": "unicodeCodePoints"`, `"columnKind": "bytes"`},
		{`"justification"`, `"reason"`},
		{`"uri": "exempt.yaml"`, `"uri": "50%.yaml"`},
		{`"name": "sallyport"`, `"title": "sallyport"`},
	} {
		broken := strings.Replace(string(data), change[0], change[1], 1)
		require.NotEqual(t, string(data), broken, change)
		require.NotEmpty(t, validate(t, schema, broken), change)
	}
}
