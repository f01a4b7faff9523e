// SPDX-License-Identifier: Apache-2.0

// Package ci tests what lies in deploy/ci, by doing what the CI systems do with it. Only
// "go install" is replaced: it would fetch a release, and installs this tree instead.
package ci

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"

	"github.com/sallyport-dev/sallyport/test/cluster"
	"github.com/sallyport-dev/sallyport/test/sallyport"
)

var update = flag.Bool("update", false, "rewrite the output in the page")

const wildcard = `apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: all, namespace: shop}
spec:
  exportTo: ["."]
  resolution: NONE
  hosts: ["*.example.com"]
  ports: [{number: 443, name: tls, protocol: TLS}]
`

var built string // the binary

func TestMain(m *testing.M) {
	flag.Parse()
	dir, err := os.MkdirTemp("", "sallyport-ci-")
	if err == nil {
		built = filepath.Join(dir, "sallyport")
		err = sallyport.Build(context.Background(), built)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// A workspace is a folder in which a job runs.
type workspace struct {
	dir string
	env []string
}

// newWorkspace returns one where "go install" of the published command puts the binary
// of this tree into $GOPATH/bin.
func newWorkspace(t *testing.T) *workspace {
	t.Helper()
	dir := t.TempDir()
	bin := filepath.Join(dir, "go", "bin")
	require.NoError(t, os.MkdirAll(bin, 0o755))
	write(t, filepath.Join(bin, "go"), `#!/bin/sh
case "$*" in
"install github.com/sallyport-dev/sallyport/cmd/sallyport@latest") cp `+built+` `+bin+`/sallyport ;;
"env GOPATH") echo `+dir+`/go ;;
*) echo "unexpected: go $*" >&2; exit 2 ;;
esac
`)
	require.NoError(t, os.Chmod(filepath.Join(bin, "go"), 0o755))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "repo"), 0o755))
	return &workspace{dir: filepath.Join(dir, "repo"), env: append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))}
}

func write(t *testing.T, file, text string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
}

// run runs a script as the systems do: it ends at the first failure.
func (w *workspace) run(t *testing.T, script string, env ...string) (output string, code int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script)
	cmd.Dir, cmd.Env = w.dir, slices.Concat(w.env, env)
	out, err := cmd.CombinedOutput()
	if _, ok := errors.AsType[*exec.ExitError](err); !ok {
		require.NoError(t, err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

func read(t *testing.T, file string, into any) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(cluster.Root(), file))
	require.NoError(t, err)
	require.NoError(t, yaml.UnmarshalStrict(data, into))
}

type action struct {
	Name        string `json:"name"`
	Description string `json:"description"`
	Inputs      map[string]struct {
		Description string `json:"description"`
		Default     string `json:"default"`
	} `json:"inputs"`
	Outputs map[string]struct {
		Description string `json:"description"`
		Value       string `json:"value"`
	} `json:"outputs"`
	Runs struct {
		Using string `json:"using"`
		Steps []struct {
			ID    string            `json:"id"`
			Uses  string            `json:"uses"`
			With  map[string]any    `json:"with"`
			Shell string            `json:"shell"`
			Env   map[string]string `json:"env"`
			Run   string            `json:"run"`
		} `json:"steps"`
	} `json:"runs"`
}

var expression = regexp.MustCompile(`\$\{\{ (\S+) \}\}`)

// run does the steps of the action with inputs.
func (a *action) run(t *testing.T, w *workspace, inputs map[string]string) (output string, code int) {
	t.Helper()
	for name := range inputs {
		require.Contains(t, a.Inputs, name)
	}
	value := func(expr string) string {
		name, ok := strings.CutPrefix(expr, "inputs.")
		if !ok {
			require.Equal(t, "runner.temp", expr)
			return filepath.Dir(w.dir)
		}
		require.Contains(t, a.Inputs, name)
		if v, ok := inputs[name]; ok {
			return v
		}
		return a.Inputs[name].Default
	}
	for _, step := range a.Runs.Steps {
		if step.Uses != "" {
			continue // installs Go
		}
		require.NotRegexp(t, expression, step.Run, "what a pull request says must not become a script")
		env := []string{"GITHUB_OUTPUT=" + filepath.Join(w.dir, "..", "output")}
		for name, v := range step.Env {
			env = append(env, name+"="+expression.ReplaceAllStringFunc(v, func(e string) string { return value(expression.FindStringSubmatch(e)[1]) }))
		}
		out, code := w.run(t, step.Run, env...)
		output += out
		if code != 0 {
			return output, code
		}
	}
	return output, 0
}

func TestGitHubAction(t *testing.T) {
	var a action
	read(t, "deploy/ci/github/action.yml", &a)
	w := newWorkspace(t)
	write(t, filepath.Join(w.dir, "egress", "a.yaml"), wildcard)
	write(t, filepath.Join(w.dir, "with blank $(touch injected)", "b.yaml"), strings.ReplaceAll(wildcard, "example.com", "example.net"))

	out, code := a.run(t, w, nil)
	require.Equal(t, 1, code)
	require.Regexp(t, `(?m)^::error file=egress/a.yaml,line=7,col=11,endColumn=26,title=serviceentry/wildcard-host::`, out)
	require.Contains(t, out, "b.yaml")
	require.FileExists(t, filepath.Join(w.dir, "..", "sallyport.sarif"))
	outputs, err := os.ReadFile(filepath.Join(w.dir, "..", "output"))
	require.NoError(t, err)
	require.Equal(t, "sarif="+filepath.Dir(w.dir)+"/sallyport.sarif\n", string(outputs))

	out, code = a.run(t, w, map[string]string{"paths": "with blank $(touch injected)\n"})
	require.Equal(t, 1, code)
	require.NotContains(t, out, "a.yaml")
	require.NoFileExists(t, filepath.Join(w.dir, "injected"))

	write(t, filepath.Join(w.dir, "policies", "warn.yaml"), policy("Warn"))
	_, code = a.run(t, w, map[string]string{"paths": "egress", "policy": "policies"})
	require.Equal(t, 0, code)
	_, code = a.run(t, w, map[string]string{"paths": "egress", "policy": "policies", "fail-on": "warn"})
	require.Equal(t, 1, code)

	_, code = w.run(t, "sallyport check --baseline known.json --write-baseline egress")
	require.Equal(t, 0, code)
	_, code = a.run(t, w, map[string]string{"paths": "egress", "baseline": "known.json", "context": "with blank $(touch injected)\n"})
	require.Equal(t, 0, code)
}

func policy(action string) string {
	return "apiVersion: policy.sallyport.dev/v1alpha1\nkind: EgressPolicy\nmetadata: {name: default}\n" +
		"spec:\n  namespaceSelector: {}\n  rules: [{name: serviceentry/wildcard-host, action: " + action + "}]\n"
}

func TestGitLab(t *testing.T) {
	var file map[string]struct {
		Image     string            `json:"image"`
		Variables map[string]string `json:"variables"`
		Script    []string          `json:"script"`
		Artifacts struct {
			When    string            `json:"when"`
			Reports map[string]string `json:"reports"`
		} `json:"artifacts"`
	}
	read(t, "deploy/ci/gitlab.yml", &file)
	job := file[".sallyport"]
	w := newWorkspace(t)
	write(t, filepath.Join(w.dir, "egress", "a.yaml"), wildcard)
	run := func(arguments string) (string, int) {
		env := []string{"PATH=" + filepath.Join(w.dir, "..", "go", "bin") + ":" + os.Getenv("PATH")}
		for name, v := range job.Variables {
			env = append(env, name+"="+v)
		}
		if arguments != "" {
			env = append(env, "SALLYPORT_ARGUMENTS="+arguments)
		}
		return w.run(t, strings.Join(job.Script, "\n"), env...)
	}
	out, code := run("")
	require.Equal(t, 1, code)
	require.Contains(t, out, "egress/a.yaml:7:11: denied")
	junit, err := os.ReadFile(filepath.Join(w.dir, job.Artifacts.Reports["junit"]))
	require.NoError(t, err)
	require.Contains(t, string(junit), `failures="1"`)
	out, code = run("--skip serviceentry/wildcard-host --complete egress/")
	require.Equal(t, 0, code, out)
}

// TestPreCommit: pre-commit runs the entry with the user's arguments and the files.
func TestPreCommit(t *testing.T) {
	var hooks []struct {
		ID            string   `json:"id"`
		Name          string   `json:"name"`
		Description   string   `json:"description"`
		Entry         string   `json:"entry"`
		Language      string   `json:"language"`
		TypesOr       []string `json:"types_or"`
		RequireSerial bool     `json:"require_serial"`
	}
	read(t, ".pre-commit-hooks.yaml", &hooks)
	w := newWorkspace(t)
	_, code := w.run(t, "go install github.com/sallyport-dev/sallyport/cmd/sallyport@latest")
	require.Equal(t, 0, code)
	write(t, filepath.Join(w.dir, "a.yaml"), wildcard)
	write(t, filepath.Join(w.dir, "b.json"), `{"apiVersion": "v1", "kind": "Pod"}`)
	for _, hook := range hooks {
		out, code := w.run(t, hook.Entry+" a.yaml b.json")
		want := map[string]int{"sallyport-check": 1, "sallyport-fix": 0}[hook.ID]
		require.Equal(t, want, code, out)
	}
	_, code = w.run(t, "sallyport check --baseline known.json --write-baseline a.yaml")
	require.Equal(t, 0, code)
	_, code = w.run(t, hooks[0].Entry+" --baseline known.json a.yaml b.json")
	require.Equal(t, 0, code)
}

var console = regexp.MustCompile("(?s)```console\n(.*?)```")

// TestPage does what the page says, word for word.
func TestPage(t *testing.T) {
	file := filepath.Join(cluster.Root(), "deploy/ci/README.md")
	page, err := os.ReadFile(file)
	require.NoError(t, err)
	w := newWorkspace(t)
	write(t, filepath.Join(w.dir, "egress", "weather.yaml"), block(t, string(page), "yaml"))
	_, code := w.run(t, block(t, string(page), "sh"))
	require.Equal(t, 0, code)
	done := console.ReplaceAllStringFunc(string(page), func(text string) string {
		var out strings.Builder
		for line := range strings.Lines(text) {
			if command, ok := strings.CutPrefix(line, "$ "); ok {
				output, _ := w.run(t, command)
				out.WriteString(line + output)
			}
		}
		return "```console\n" + out.String() + "```"
	})
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(done), 0o600))
	}
	require.Equal(t, done, string(page))
}

func block(t *testing.T, page, language string) string {
	t.Helper()
	_, after, ok := strings.Cut(page, "```"+language+"\n")
	require.True(t, ok)
	text, _, _ := strings.Cut(after, "```")
	return text
}
