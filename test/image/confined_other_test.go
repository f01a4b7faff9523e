// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package image

import (
	"errors"
	"testing"
)

const confineArg = "confine"

func confine(string, string, []string) error { return errors.ErrUnsupported }

func TestConfined(t *testing.T) {
	t.Skip("Linux alone has namespaces to run the binary in")
}
