// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	authorizationclient "k8s.io/client-go/kubernetes/typed/authorization/v1"
)

// A fakeReviews answers SubjectAccessReviews and keeps the questions.
type fakeReviews struct {
	authorizationclient.SubjectAccessReviewInterface

	answer func(context.Context) (authorizationv1.SubjectAccessReviewStatus, error)
	asked  []authorizationv1.SubjectAccessReviewSpec
}

func (f *fakeReviews) SubjectAccessReviews() authorizationclient.SubjectAccessReviewInterface {
	return f
}

func (f *fakeReviews) Create(ctx context.Context, review *authorizationv1.SubjectAccessReview, _ metav1.CreateOptions) (*authorizationv1.SubjectAccessReview, error) {
	f.asked = append(f.asked, review.Spec)
	status, err := f.answer(ctx)
	return &authorizationv1.SubjectAccessReview{Status: status}, err
}

func answering(allowed bool) *fakeReviews {
	return &fakeReviews{answer: func(context.Context) (authorizationv1.SubjectAccessReviewStatus, error) {
		return authorizationv1.SubjectAccessReviewStatus{Allowed: allowed}, nil
	}}
}

func TestMayBreakGlassAsks(t *testing.T) {
	f := answering(true)
	ok, err := NewBreakGlass(f).MayBreakGlass(t.Context(), &authenticationv1.UserInfo{
		Username: "alice", UID: "7", Groups: []string{"a", "b"}, Extra: map[string]authenticationv1.ExtraValue{"scopes": {"x"}},
	})
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, []authorizationv1.SubjectAccessReviewSpec{{
		ResourceAttributes: &authorizationv1.ResourceAttributes{
			Group: "policy.sallyport.dev", Version: "*", Resource: "egresspolicies", Verb: "breakglass",
		},
		User: "alice", UID: "7", Groups: []string{"a", "b"}, Extra: map[string]authorizationv1.ExtraValue{"scopes": {"x"}},
	}}, f.asked)
}

// TestAnswersAreKept (R10): for a second, for the very same user.
func TestAnswersAreKept(t *testing.T) {
	for _, allowed := range []bool{true, false} {
		t.Run(strconv.FormatBool(allowed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := answering(allowed)
				glass := NewBreakGlass(f)
				users := []*authenticationv1.UserInfo{
					{Username: "alice"},
					{Username: "alice", Groups: []string{"a"}},
					{Username: "alice", UID: "7"},
					{Username: "alice", Extra: map[string]authenticationv1.ExtraValue{"scopes": {"x"}}},
					{Username: "bob"},
				}
				ask := func() {
					for _, user := range users {
						ok, err := glass.MayBreakGlass(t.Context(), user)
						require.NoError(t, err)
						require.Equal(t, allowed, ok)
					}
				}
				ask()
				ask()
				require.Len(t, f.asked, len(users))
				time.Sleep(reviewCacheTime + time.Millisecond)
				ask()
				require.Len(t, f.asked, 2*len(users))
			})
		})
	}
}

func TestAnswersAreBounded(t *testing.T) {
	f := answering(true)
	glass := NewBreakGlass(f).(*subjectAccessReviewer)
	for i := range reviewCacheUsers + 10 {
		_, err := glass.MayBreakGlass(t.Context(), &authenticationv1.UserInfo{Username: strconv.Itoa(i)})
		require.NoError(t, err)
	}
	require.LessOrEqual(t, len(glass.answers.Keys()), reviewCacheUsers)
}

// TestFailuresAreNotKept: and are no answer, in 500 ms at most.
func TestFailuresAreNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeReviews{answer: func(ctx context.Context) (authorizationv1.SubjectAccessReviewStatus, error) {
			<-ctx.Done()
			return authorizationv1.SubjectAccessReviewStatus{Allowed: true}, ctx.Err()
		}}
		glass := NewBreakGlass(f)
		start := time.Now()
		ok, err := glass.MayBreakGlass(t.Context(), &authenticationv1.UserInfo{Username: "alice"})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.False(t, ok)
		require.Equal(t, reviewTimeout, time.Since(start))

		f.answer = func(context.Context) (authorizationv1.SubjectAccessReviewStatus, error) {
			return authorizationv1.SubjectAccessReviewStatus{EvaluationError: "the authorizer is away"}, nil
		}
		_, err = glass.MayBreakGlass(t.Context(), &authenticationv1.UserInfo{Username: "alice"})
		require.EqualError(t, err, "the authorizer is away")

		f.answer = func(context.Context) (authorizationv1.SubjectAccessReviewStatus, error) {
			return authorizationv1.SubjectAccessReviewStatus{}, errors.New("refused")
		}
		_, err = glass.MayBreakGlass(t.Context(), &authenticationv1.UserInfo{Username: "alice"})
		require.EqualError(t, err, "refused")
		require.Len(t, f.asked, 3)
	})
}
