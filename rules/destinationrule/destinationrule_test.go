// SPDX-License-Identifier: Apache-2.0

package destinationrule

import (
	"testing"

	"github.com/sallyport-dev/sallyport/rules/analysis/analysistest"
)

func TestRules(t *testing.T) { analysistest.Run(t, Rules) }
