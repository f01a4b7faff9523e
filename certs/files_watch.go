// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/go-logr/logr"
)

// readFiles returns the contents of the files.
func readFiles(paths []string) ([][]byte, error) {
	var contents [][]byte
	for _, path := range paths {
		content, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		contents = append(contents, content)
	}
	return contents, nil
}

// watchFiles calls changed soon after one of the files may have changed, until
// ctx is done. It watches their folders, because a file of a mounted Secret is a
// link into the folder ..data, which itself is a link and is replaced. It may
// miss changes, so that files must be polled as well.
func watchFiles(ctx context.Context, paths []string, changed func()) {
	log := logr.FromContextOrDiscard(ctx)
	watcher, err := fsnotify.NewWatcher()
	if err != nil { // a node can run out of them
		log.Info("Files are polled only", "reason", err.Error())
		return
	}
	defer watcher.Close()
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		for _, folder := range foldersOf(paths) {
			watched := slices.Contains(watcher.WatchList(), folder)
			if err := watcher.Add(folder); err == nil && !watched { // also again: it may have been replaced
				changed()
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-watcher.Events:
			changed()
			debounce(ctx)
		case err := <-watcher.Errors:
			log.V(1).Info("Missed changes of files", "reason", err.Error())
			changed()
		}
	}
}

// debounce keeps a folder in which much is going on from making us busy.
func debounce(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(50 * time.Millisecond):
	}
}

func foldersOf(paths []string) []string {
	var folders []string
	for _, path := range paths {
		folders = append(folders, filepath.Dir(path))
	}
	slices.Sort(folders)
	return slices.Compact(folders)
}
