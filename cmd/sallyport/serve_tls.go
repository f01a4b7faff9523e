// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/tls"
	"fmt"
)

// tlsVersions are those that callers may speak at the oldest.
var tlsVersions = []string{"1.3", "1.2"}

func tlsVersion(name string) (uint16, error) {
	switch name {
	case "1.3":
		return tls.VersionTLS13, nil
	case "1.2":
		return tls.VersionTLS12, nil
	}
	return 0, fmt.Errorf("--tls-min-version %q: want %s", name, enumeration(tlsVersions))
}
