// SPDX-License-Identifier: Apache-2.0

// Package schema knows which fields and values Istio's CRDs have, and so what the
// API server keeps of an object that somebody wrote. Istio's own decoder knows
// more: it also takes the names that fields have in protobuf, and numbers for
// enums, which never get as far as to it.
package schema

import (
	_ "embed"
	"encoding/json"
	"slices"
	"sync"

	"github.com/sallyport-dev/sallyport/rules/analysis"
)

//go:generate go test -run ^TestSchemas$ -update .

// data holds the schema of the spec of each kind: a JSON object of nodes, by
// kind and group.
//
//go:embed zz_generated.schemas.json
var data []byte

// A node is the schema of a value. One without any of this is a single value.
type node struct {
	// Fields are those of an object that has no others.
	Fields map[string]*node `json:"fields,omitzero"`
	// Values is the schema of the values of a map.
	Values *node `json:"values,omitempty"`
	// Items is the schema of the items of a list.
	Items *node `json:"items,omitempty"`
	// Enum lists the strings that the value can be.
	Enum []string `json:"enum,omitempty"`
	// Any is set for values of which the API server keeps everything.
	Any bool `json:"any,omitempty"`
}

func (n *node) names() []string {
	names := make([]string, 0, len(n.Fields))
	for name := range n.Fields {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

var schemas = sync.OnceValue(func() map[string]*node {
	var all map[string]*node
	if err := json.Unmarshal(data, &all); err != nil {
		panic("schema: the generated file is damaged: " + err.Error())
	}
	return all
})

// Has reports whether the kind is one of Istio's, which have a schema here.
func Has(kind *analysis.Kind) bool { return schemas()[kind.String()] != nil }
