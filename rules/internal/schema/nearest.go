// SPDX-License-Identifier: Apache-2.0

package schema

import "strings"

// The edits that may lie between a name and the one that was meant, and the
// length of names that are compared at all: the longest field has 35 bytes.
const (
	maxEdits = 2
	maxName  = 64
)

// Nearest returns the known name that was probably meant, or "".
func Nearest(name string, known []string) string {
	if len(name) > maxName {
		return ""
	}
	best, bestDistance := "", maxEdits+1
	folded := fold(name)
	for _, k := range known {
		distance := editDistance(folded, fold(k))
		if distance < bestDistance && distance*2 <= len(k) {
			best, bestDistance = k, distance
		}
	}
	return best
}

// fold removes what spellings of one name differ in.
func fold(name string) string {
	return strings.ToLower(strings.NewReplacer("_", "", "-", "").Replace(name))
}

// editDistance is Levenshtein's, in bytes.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
