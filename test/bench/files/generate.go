// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
)

// perFile is how many documents are in a file, as in a team's repository.
const perFile = 20

const entry = `apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata:
  name: supplier-%[1]d
  namespace: team-%[2]d
spec:
  hosts:
  - api.supplier-%[1]d.example.com
  exportTo: ["."]
  location: MESH_EXTERNAL
  resolution: DNS
  ports: # what the supplier serves
  - number: 80
    name: http
    protocol: HTTP
  - {number: 443, name: https, protocol: HTTPS}
`

const routes = `apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: supplier-%[1]d
  namespace: team-%[2]d
spec:
  hosts:
  - api.supplier-%[1]d.example.com
  exportTo: ["."]
  http:
  - match:
    - uri: {prefix: /v1/}
    rewrite: {uri: /v2/}
    timeout: 5s
    route:
    - destination: {host: api.supplier-%[1]d.example.com}
  - route:
    - destination:
        host: api.supplier-%[1]d.example.com
`

// writeDocuments writes files with ServiceEntries and VirtualServices in turn.
func writeDocuments(dir string, documents int) error {
	for first := 0; first < documents; first += perFile {
		folder := filepath.Join(dir, fmt.Sprintf("team-%d", first/perFile))
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return err
		}
		if err := writeFile(filepath.Join(folder, "egress.yaml"), first, min(first+perFile, documents)); err != nil {
			return err
		}
	}
	return nil
}

func writeFile(name string, first, end int) (err error) {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer func() {
		if closed := f.Close(); err == nil {
			err = closed
		}
	}()
	w := bufio.NewWriter(f)
	for i := first; i < end; i++ {
		text := entry
		if i%2 == 1 {
			text = routes
		}
		fmt.Fprintf(w, "---\n"+text, i/2, i/2/perFile)
	}
	return w.Flush()
}
