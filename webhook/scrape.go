// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/time/rate"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/cache"
	authenticationclient "k8s.io/client-go/kubernetes/typed/authentication/v1"
	authorizationclient "k8s.io/client-go/kubernetes/typed/authorization/v1"
)

// MetricsPath is where metrics are served.
const MetricsPath = "/metrics"

// The limits of what scrapers cost the API server; its client's own rate bounds what
// callers without a right do.
const (
	scrapeReviewTimeout = 5 * time.Second
	scrapeAllowedTime   = time.Minute
	scrapeRefusedTime   = 10 * time.Second
	scrapeCacheTokens   = 1024
	scrapeComplaints    = time.Minute
)

// A scrapeGuard lets those scrapers in who may.
type scrapeGuard struct {
	tokens  authenticationclient.TokenReviewInterface
	rights  authorizationclient.SubjectAccessReviewInterface
	answers *cache.LRUExpireCache // error, or nil, by sha256 of the token
	log     logr.Logger
	// complain bounds the lines about a guard that cannot tell.
	complain rate.Sometimes
}

// NewScrapeGuard returns a filter that lets those callers through whose bearer token
// belongs to a user who may get the nonResourceURL /metrics, such as Prometheus with a
// ClusterRole that says so. It asks the API server and remembers its answer for a
// minute. The calls need the verb create on tokenreviews of authentication.k8s.io and
// on subjectaccessreviews of authorization.k8s.io; the clients should be used for
// nothing else, since anybody who reaches the port can make them wait.
func NewScrapeGuard(
	tokens authenticationclient.TokenReviewsGetter, rights authorizationclient.SubjectAccessReviewsGetter, log logr.Logger,
) func(http.Handler) http.Handler {
	g := &scrapeGuard{
		tokens: tokens.TokenReviews(), rights: rights.SubjectAccessReviews(),
		answers: cache.NewLRUExpireCache(scrapeCacheTokens), log: log, complain: rate.Sometimes{Interval: scrapeComplaints},
	}
	return g.filter
}

// What a caller is told who is not let in.
var (
	errNobody    = &httpError{status: http.StatusUnauthorized, message: "metrics are for those who show a token that the API server knows"}
	errMayNot    = &httpError{status: http.StatusForbidden, message: "metrics are for users who may get the nonResourceURL " + MetricsPath}
	errNoVerdict = &httpError{status: http.StatusServiceUnavailable, message: "could not ask the API server about the token, see the log of the Sallyport server"}
)

func (g *scrapeGuard) filter(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		refusal := g.admit(r)
		if refusal == nil {
			next.ServeHTTP(w, r)
			return
		}
		if refusal.status == http.StatusUnauthorized {
			w.Header().Set("WWW-Authenticate", "Bearer")
		}
		http.Error(w, "sallyport: "+refusal.message, refusal.status)
	})
}

// admit returns why a caller is not let in.
func (g *scrapeGuard) admit(r *http.Request) *httpError {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return errNobody
	}
	key := sha256.Sum256([]byte(token))
	if answer, ok := g.answers.Get(key); ok {
		return answer.(*httpError)
	}
	ctx, cancel := context.WithTimeout(r.Context(), scrapeReviewTimeout)
	defer cancel()
	answer, err := g.ask(ctx, token)
	if err != nil {
		g.complain.Do(func() { g.log.Error(err, "Could not find out who may read metrics, and refused them") })
		return errNoVerdict
	}
	remember := scrapeAllowedTime
	if answer != nil {
		remember = scrapeRefusedTime
	}
	g.answers.Add(key, answer, remember)
	return answer
}

// ask asks the API server.
func (g *scrapeGuard) ask(ctx context.Context, token string) (*httpError, error) {
	known, err := g.tokens.Create(ctx, &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token}}, metav1.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("create a TokenReview: %w", err)
	}
	if !known.Status.Authenticated {
		return errNobody, nil
	}
	review := reviewOf(&known.Status.User)
	review.Spec.NonResourceAttributes = &authorizationv1.NonResourceAttributes{Path: MetricsPath, Verb: "get"}
	answered, err := g.rights.Create(ctx, review, metav1.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("create a SubjectAccessReview: %w", err)
	}
	if !answered.Status.Allowed {
		return errMayNot, nil
	}
	return nil, nil
}
