// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/cache"
	authorizationclient "k8s.io/client-go/kubernetes/typed/authorization/v1"
)

// An Authorizer says who may have a denied change let through. It is asked only
// about users whose request is denied and carries the annotation.
type Authorizer interface {
	// MayBreakGlass returns an error if it cannot tell.
	MayBreakGlass(ctx context.Context, user *authenticationv1.UserInfo) (bool, error)
}

// The limits of what break-glass costs the API server, and the request.
const (
	reviewTimeout    = 500 * time.Millisecond
	reviewCacheTime  = time.Second
	reviewCacheUsers = 1024
)

// A subjectAccessReviewer asks the API server, whatever its authorizers are.
type subjectAccessReviewer struct {
	client  authorizationclient.SubjectAccessReviewInterface
	answers *cache.LRUExpireCache // bool by sha256 of the question
}

// NewBreakGlass returns an Authorizer that lets those users break the glass who
// may do the verb breakglass on all egresspolicies of policy.sallyport.dev. It
// asks the API server and remembers its answer for a second; the calls need the
// verb create on subjectaccessreviews.
func NewBreakGlass(client authorizationclient.SubjectAccessReviewsGetter) Authorizer {
	return &subjectAccessReviewer{
		client:  client.SubjectAccessReviews(),
		answers: cache.NewLRUExpireCache(reviewCacheUsers),
	}
}

// MayBreakGlass implements [Authorizer].
func (r *subjectAccessReviewer) MayBreakGlass(ctx context.Context, user *authenticationv1.UserInfo) (bool, error) {
	review := accessReview(user)
	question, err := json.Marshal(review.Spec)
	if err != nil {
		return false, fmt.Errorf("encode the question: %w", err)
	}
	key := sha256.Sum256(question) // of one size, whatever the user is called
	if answer, ok := r.answers.Get(key); ok {
		return answer.(bool), nil
	}
	ctx, cancel := context.WithTimeout(ctx, reviewTimeout)
	defer cancel()
	answered, err := r.client.Create(ctx, review, metav1.CreateOptions{})
	if err != nil {
		return false, err
	}
	allowed := answered.Status.Allowed
	if !allowed && answered.Status.EvaluationError != "" {
		return false, errors.New(answered.Status.EvaluationError)
	}
	r.answers.Add(key, allowed, reviewCacheTime)
	return allowed, nil
}

// accessReview asks about the cluster, not about a namespace: a tenant who may
// do everything in a namespace may not break the glass there.
func accessReview(user *authenticationv1.UserInfo) *authorizationv1.SubjectAccessReview {
	review := reviewOf(user)
	review.Spec.ResourceAttributes = &authorizationv1.ResourceAttributes{
		Group: "policy.sallyport.dev", Version: "*", Resource: "egresspolicies", Verb: "breakglass",
	}
	return review
}

// reviewOf returns a review of a user that asks about nothing yet.
func reviewOf(user *authenticationv1.UserInfo) *authorizationv1.SubjectAccessReview {
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: user.Username, UID: user.UID, Groups: user.Groups,
	}}
	for key, values := range user.Extra {
		if review.Spec.Extra == nil {
			review.Spec.Extra = map[string]authorizationv1.ExtraValue{}
		}
		review.Spec.Extra[key] = authorizationv1.ExtraValue(values)
	}
	return review
}
