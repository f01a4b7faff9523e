// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

func newStore(t *testing.T) *store {
	t.Helper()
	s := &store{cache: t.TempDir(), tools: t.TempDir()}
	require.NoError(t, os.Mkdir(filepath.Join(s.tools, "cluster"), 0o700))
	write(t, filepath.Join(s.tools, "cluster", "go.mod"), "require (\n\tk8s.io/kubernetes v1.37.2\n)\n")
	write(t, filepath.Join(s.tools, "cluster", "go.sum"), "")
	return s
}

func write(t *testing.T, path, content string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte(content), 0o700))
}

// fake is a source that makes the given programs.
func fake(calls *atomic.Int32, names ...string) source {
	return func(_ context.Context, _ *store, _, dir string, _ io.Writer) error {
		calls.Add(1)
		for _, name := range names {
			if err := os.WriteFile(filepath.Join(dir, name), nil, 0o700); err != nil {
				return err
			}
		}
		return nil
	}
}

func TestBinariesAreMadeOnce(t *testing.T) {
	s := newStore(t)
	var calls atomic.Int32
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() {
			dir, err := s.binaries(t.Context(), io.Discard, fake(&calls, programs...))
			if err != nil || filepath.Dir(dir) != s.cache || len(missingPrograms(dir)) > 0 {
				t.Errorf("got %s, %v", dir, err)
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, 1, calls.Load())
}

func TestBinariesFollowWhatIsPinned(t *testing.T) {
	s := newStore(t)
	var calls atomic.Int32
	first, err := s.binaries(t.Context(), io.Discard, fake(&calls, programs...))
	require.NoError(t, err)
	write(t, filepath.Join(s.tools, "cluster", "go.sum"), "changed")
	second, err := s.binaries(t.Context(), io.Discard, fake(&calls, programs...))
	require.NoError(t, err)
	require.NotEqual(t, first, second)
	require.EqualValues(t, 2, calls.Load())
}

func TestBinariesFallBack(t *testing.T) {
	s := newStore(t)
	var calls atomic.Int32
	unreachable := func(context.Context, *store, string, string, io.Writer) error { return errors.New("unreachable") }
	half := fake(&calls, "etcd")
	_, err := s.binaries(t.Context(), io.Discard, unreachable, half)
	require.ErrorContains(t, err, "unreachable")
	require.ErrorContains(t, err, "kube-apiserver, kubectl is missing")

	dir, err := s.binaries(t.Context(), io.Discard, unreachable, half, fake(&calls, programs...))
	require.NoError(t, err, "a half build is not taken for a whole one")
	require.Empty(t, missingPrograms(dir))
	left, err := filepath.Glob(filepath.Join(s.cache, "unfinished-*"))
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestBinariesOfTheEnvironment(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("KUBEBUILDER_ASSETS", dir)
	_, err := Binaries(t.Context(), io.Discard)
	require.ErrorContains(t, err, "etcd, kube-apiserver, kubectl is missing in "+dir)
	for _, p := range programs {
		write(t, filepath.Join(dir, p), "")
	}
	got, err := Binaries(t.Context(), io.Discard)
	require.NoError(t, err)
	require.Equal(t, dir, got)
}

func TestReport(t *testing.T) {
	var w strings.Builder
	report(&w, "Building, about a minute")()
	require.Equal(t, "Building, about a minute\n  took 0s\n", w.String())
}
