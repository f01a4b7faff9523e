// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"

	"github.com/sallyport-dev/sallyport/rules/config"
)

// readConfig reads the file of --config; without one it is the default.
func readConfig(file string) (*config.Configuration, error) {
	if file == "" {
		return config.Default(), nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("--config: %w", err)
	}
	c, err := config.Parse(data)
	if err != nil {
		return nil, fmt.Errorf("--config %s: %w", file, err)
	}
	return c, nil
}
