// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestPatiently(t *testing.T) {
	failure := errors.New("failed")
	for _, test := range []struct {
		name    string
		missing int // how often something is missing
		err     error
		want    int // how often it is judged
		took    time.Duration
	}{
		{"nothing is missing", 0, nil, 1, 0},
		{"it comes soon", 3, nil, 4, 3 * lookAgain},
		{"it never comes", 1000, nil, 11, watchDelay},
		{"a failure", 1000, failure, 1, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start, judged := time.Now(), 0
				err := patiently(t.Context(), func(await func()) error {
					if judged++; judged <= test.missing {
						await()
					}
					return test.err
				})
				require.ErrorIs(t, err, test.err)
				require.Equal(t, test.want, judged)
				require.Equal(t, test.took, time.Since(start))
			})
		})
	}
	t.Run("the caller goes", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		judged := 0
		require.NoError(t, patiently(ctx, func(await func()) error { judged++; await(); return nil }))
		require.Equal(t, 1, judged)
	})
}
