// SPDX-License-Identifier: Apache-2.0

package image

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

const (
	root = "../.."

	// What the image says of itself.
	stamp    = "v1.2.3-4-gabcdef0"
	revision = "0123456789abcdef0123456789abcdef01234567"

	base = "gcr.io/distroless/static-debian12:nonroot"
	user = 65532 // nonroot in distroless
)

// architectures are those that images are published for.
var architectures = []string{"amd64", "arm64"}

// scratch is a folder that lives as long as the tests.
var scratch string

func TestMain(m *testing.M) {
	if len(os.Args) > 3 && os.Args[1] == confineArg {
		fmt.Fprintln(os.Stderr, confine(os.Args[2], os.Args[3], os.Args[4:]))
		os.Exit(1)
	}
	flag.Parse()
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (int, error) {
	dir, err := os.MkdirTemp("", "sallyport-image-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	// Paths in binaries are looked for by this one.
	if scratch, err = filepath.EvalSymlinks(dir); err != nil {
		return 1, err
	}
	return m.Run(), nil
}
