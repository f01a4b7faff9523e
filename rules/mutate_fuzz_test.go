// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/mesh"
	"github.com/sallyport-dev/sallyport/rules/mutate"
)

// FuzzMutate: no object makes a mutator panic, and whatever there is to change is
// changed at once, so that a second application finds nothing.
func FuzzMutate(f *testing.F) {
	suite, err := analysis.NewSuite(All...)
	require.NoError(f, err)
	for seed := range uint64(50) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		g := generator{rand.New(rand.NewPCG(seed, 3))}
		in := analysis.Input{Object: g.object(), Policy: g.policy(), Config: g.config(t), Now: time.Unix(0, 0)}
		if g.IntN(3) == 0 {
			in.Object.SetAnnotations(map[string]string{"sallyport.dev/injected": "v1"})
		}
		index := mesh.New(in.Config)
		for range g.IntN(12) {
			index.Set(g.object())
		}
		if g.IntN(3) > 0 {
			index.SetComplete(analysis.Kinds()...)
		}
		in.Mesh = index
		_, failure := analysis.Mutate(mutate.Mutators, in)
		require.Nil(t, failure)
		kind := analysis.KindOf(in.Object)
		once, isMessage := kind.Spec(in.Object).(proto.Message)
		if isMessage {
			once = proto.Clone(once)
		}
		injections, failure := analysis.Mutate(mutate.Mutators, in)
		require.Nil(t, failure)
		require.Empty(t, injections)
		if isMessage {
			require.True(t, proto.Equal(once, kind.Spec(in.Object).(proto.Message)))
		}
		require.Empty(t, analysis.Check(suite, in).Panics)
	})
}
