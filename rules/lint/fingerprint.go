// SPDX-License-Identifier: Apache-2.0

package lint

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
)

// Fingerprint identifies a finding from one run to the next: 16 hexadecimal
// digits over its rule, its object, the type of the error and the value. Lines
// and list indices are not part of it, since they move. Findings about the same
// value in one object share it.
func (f *Finding) Fingerprint() string {
	object := reference(f.Document)
	hash := sha256.New()
	for _, part := range []string{f.Rule.Name, object.Kind, object.Namespace, object.Name, string(f.Type), stableValue(f.BadValue)} {
		// With its length, so that no two lists of parts run together alike.
		_, _ = fmt.Fprintf(hash, "%d:", len(part)) // a hash takes everything
		_, _ = io.WriteString(hash, part)
	}
	return hex.EncodeToString(hash.Sum(nil))[:16]
}

// stableValue is a value as text that is the same in every build: the text of
// protobuf messages is not.
func stableValue(value any) string {
	if s, ok := value.(string); ok {
		return s
	}
	data, err := json.Marshal(value)
	if err != nil {
		return fmt.Sprint(value)
	}
	return string(data)
}
