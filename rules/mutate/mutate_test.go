// SPDX-License-Identifier: Apache-2.0

package mutate

import (
	"testing"

	"github.com/sallyport-dev/sallyport/rules/analysis/analysistest"
)

func TestMutators(t *testing.T) { analysistest.RunMutators(t, Mutators) }
