// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
)

// untilDone does work that writes nothing, and returns what it returns; or at once when
// the context ends, as by Ctrl-C.
func untilDone[T any](ctx context.Context, work func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		value, err := work()
		done <- result{value, err}
	}()
	var r result
	select {
	case r = <-done:
	case <-ctx.Done():
	}
	return r.value, errors.Join(interrupted(ctx), r.err)
}

// interrupted returns the error to exit with if the context has ended.
func interrupted(ctx context.Context) error {
	if ctx.Err() == nil {
		return nil
	}
	return &exitError{code: exitInterrupted, err: errors.New("interrupted")}
}
