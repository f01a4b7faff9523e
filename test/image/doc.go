// SPDX-License-Identifier: Apache-2.0

// Package image tests the container image without a container engine: BuildKit's own
// frontend reads the Dockerfile, its builder stage is done in a folder of what
// .dockerignore lets through, and what comes out runs in namespaces, in an empty root that
// cannot be written to, as nobody and without any privilege. Where an engine is at hand,
// the image is really built as well. ko, the other way to build it, has to agree.
package image
