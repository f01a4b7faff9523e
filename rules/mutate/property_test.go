// SPDX-License-Identifier: Apache-2.0

package mutate_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	networking "istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"

	"github.com/sallyport-dev/sallyport/rules/analysis"
	"github.com/sallyport-dev/sallyport/rules/mutate"
	"github.com/sallyport-dev/sallyport/rules/policy"
	"github.com/sallyport-dev/sallyport/rules/virtualservice"
)

const rounds = 1500

// defaults are mutate/timeout and mutate/retries, which only fill in.
var defaults = mutate.Mutators[:2]

func apply(t *testing.T, in analysis.Input) []analysis.Injection {
	t.Helper()
	return applyAll(t, defaults, in)
}

func applyAll(t *testing.T, mutators []*analysis.Mutator, in analysis.Input) []analysis.Injection {
	t.Helper()
	injections, failure := analysis.Mutate(mutators, in)
	require.Nil(t, failure)
	return injections
}

// TestTimeoutBeforeRetries: the time for one try is measured by the timeout that
// is filled in with it.
func TestTimeoutBeforeRetries(t *testing.T) {
	pol := *policy.Default()
	pol.Defaults.Retries = &policy.Retries{Attempts: 2, RetryOn: "gateway-error", PerTryTimeout: new(5 * time.Second)}
	in := benchmarkInput()
	in.Policy = &pol
	require.Len(t, apply(t, in), 2)
	r := in.Object.(*networkingv1.VirtualService).Spec.GetHttp()[0]
	require.Equal(t, 15*time.Second, r.GetTimeout().AsDuration())
	require.Equal(t, 5*time.Second, r.GetRetries().GetPerTryTimeout().AsDuration())
}

// TestMutateTwice: a second application changes nothing.
func TestMutateTwice(t *testing.T) {
	injected := 0
	for seed := range uint64(rounds) {
		in, vs := newGenerator(seed).input(t)
		injected += len(applyAll(t, mutate.Mutators, in))
		once := vs.Spec.DeepCopy()
		require.Empty(t, applyAll(t, mutate.Mutators, in), "seed %d", seed)
		require.True(t, proto.Equal(once, &vs.Spec), "seed %d", seed)
	}
	require.Greater(t, injected, rounds/3, "the generator makes something to do")
}

// TestMutateOnlyAdds: what was there stays, byte for byte, and what is new is
// recorded and is a timeout or retries.
func TestMutateOnlyAdds(t *testing.T) {
	for seed := range uint64(rounds) {
		in, vs := newGenerator(seed).input(t)
		before := vs.Spec.DeepCopy()
		mayChange := mutate.MayChange(vs)
		injections := apply(t, in)
		if !mayChange {
			require.Empty(t, injections, "seed %d: the API server would not have asked", seed)
		}
		recorded := map[string]bool{}
		for _, i := range injections {
			require.False(t, recorded[i.Path.String()], "seed %d: %s is set twice", seed, i.Path)
			recorded[i.Path.String()] = true
		}
		set := 0
		for i, r := range vs.Spec.GetHttp() {
			was := before.GetHttp()[i]
			if was.GetTimeout() == nil && r.GetTimeout() != nil {
				r.Timeout = nil
				set++
			}
			if was.GetRetries() == nil && r.GetRetries() != nil {
				r.Retries = nil
				set++
			}
		}
		require.Len(t, injections, set, "seed %d", seed)
		require.True(t, proto.Equal(before, &vs.Spec), "seed %d", seed)
	}
}

// TestMutateLeavesAlone: whatever surrounds them, some routes get nothing.
func TestMutateLeavesAlone(t *testing.T) {
	for seed := range uint64(rounds) {
		in, vs := newGenerator(seed).input(t)
		before := vs.Spec.DeepCopy()
		apply(t, in)
		for i, r := range vs.Spec.GetHttp() {
			was := before.GetHttp()[i]
			untouchable := was.GetRedirect() != nil || was.GetDirectResponse() != nil || was.GetDelegate() != nil || was.GetFault() != nil ||
				len(was.GetRoute()) == 0 || was.GetName() == "sallyport-mesh-80" || leadsInside(was)
			if untouchable || was.GetTimeout() != nil && was.GetRetries() != nil {
				require.True(t, proto.Equal(was, r), "seed %d: route %d", seed, i)
			}
		}
	}
}

func leadsInside(r *networking.HTTPRoute) bool {
	for _, d := range r.GetRoute() {
		if h := d.GetDestination().GetHost(); h == "reviews" || h == "reviews.shop.svc.cluster.local" {
			return true
		}
	}
	return false
}

// TestMutateIsValid: istiod takes what is filled in (istio.io/istio v1.31,
// pkg/config/validation/validation.go, validateHTTPRetry and ValidateDuration).
func TestMutateIsValid(t *testing.T) {
	for seed := range uint64(rounds) {
		in, _ := newGenerator(seed).input(t)
		for _, i := range apply(t, in) {
			switch v := i.Value.(type) {
			case *networking.HTTPRetry:
				require.Positive(t, v.GetAttempts(), "seed %d", seed)
				require.LessOrEqual(t, int(v.GetAttempts()), in.Policy.Limits.MaxRetryAttempts, "seed %d", seed)
				if v.GetPerTryTimeout() != nil {
					require.GreaterOrEqual(t, v.GetPerTryTimeout().AsDuration(), time.Millisecond, "seed %d", seed)
				}
			case interface{ AsDuration() time.Duration }:
				require.GreaterOrEqual(t, v.AsDuration(), time.Millisecond, "seed %d", seed)
				require.LessOrEqual(t, v.AsDuration(), in.Policy.Limits.MaxTimeout, "seed %d", seed)
			default:
				t.Fatalf("seed %d: %s is a %T", seed, i.Path, v)
			}
		}
	}
}

// TestMutateCausesNoFindings: nobody is warned of what a mutator has set, and
// what a policy demands is not missing afterwards.
func TestMutateCausesNoFindings(t *testing.T) {
	suite, err := analysis.NewSuite(virtualservice.Rules...)
	require.NoError(t, err)
	for seed := range uint64(rounds) {
		in, vs := newGenerator(seed).input(t)
		demanding := *in.Policy
		demanding.Rules = map[string]policy.RuleSetting{"virtualservice/timeout": {Action: policy.Deny}}
		in.Policy = &demanding
		before := map[string]bool{}
		for _, f := range analysis.Check(suite, in).Findings {
			before[f.Field+f.Type.String()] = true
		}
		apply(t, in)
		for _, f := range analysis.Check(suite, in).Findings {
			require.True(t, before[f.Field+f.Type.String()], "seed %d: %s in %v", seed, f.Error, vs.Spec.GetHttp())
		}
	}
}
