// SPDX-License-Identifier: Apache-2.0

package egress_test

import (
	"testing"

	"github.com/sallyport-dev/sallyport/rules/analysis/analysistest"
	"github.com/sallyport-dev/sallyport/rules/egress"
)

func Test(t *testing.T) { analysistest.Run(t, egress.Rules) }
