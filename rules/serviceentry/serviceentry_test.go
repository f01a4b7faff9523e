// SPDX-License-Identifier: Apache-2.0

package serviceentry_test

import (
	"testing"

	"github.com/sallyport-dev/sallyport/rules/analysis/analysistest"
	"github.com/sallyport-dev/sallyport/rules/serviceentry"
)

func Test(t *testing.T) { analysistest.Run(t, serviceentry.Rules) }
