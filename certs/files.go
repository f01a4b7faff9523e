// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
)

// FilesOptions say which files hold the certificate and who shall trust it.
type FilesOptions struct {
	Options
	// CertFile holds the certificate and KeyFile its private key, both in PEM.
	// Intermediate CAs follow the certificate. The files may appear, and change,
	// at any time.
	CertFile, KeyFile string
	// CAFile holds the CAs that the webhook configurations get. Empty: somebody
	// else injects them, or the API server trusts the certificate anyway. // optional
	CAFile string
	// ValidatingConfiguration and MutatingConfiguration name the webhook
	// configurations that the certificate must suit. They may be created later.
	// Empty is none. // optional
	ValidatingConfiguration, MutatingConfiguration string
}

// Files is a [Source] of certificates that somebody else puts into files. Use
// [NewFiles].
type Files struct {
	*follower
	paths []string
	read  [][]byte // what was in them
	next  *issued  // the same, parsed; of Start alone
}

var _ Source = (*Files)(nil)

// NewFiles returns a source that has no certificate before it is started. The
// client may be nil if no webhook configurations are named.
func NewFiles(client kubernetes.Interface, opts FilesOptions) (*Files, error) {
	follower, err := newFollower(ModeFiles, client, opts.Options, opts.ValidatingConfiguration, opts.MutatingConfiguration)
	if err != nil {
		return nil, err
	}
	if opts.CertFile == "" || opts.KeyFile == "" {
		return nil, errors.New("certificate: the files of a certificate and of its key are required")
	}
	if name := opts.ValidatingConfiguration; name != "" { // there is no better object
		follower.about = corev1.ObjectReference{
			APIVersion: "admissionregistration.k8s.io/v1", Kind: "ValidatingWebhookConfiguration", Name: name,
		}
	}
	f := &Files{follower: follower, paths: []string{opts.CertFile, opts.KeyFile}}
	if opts.CAFile != "" {
		f.paths = append(f.paths, opts.CAFile)
		f.injects = true
	}
	return f, nil
}

// pollPeriod is how often files are read: not all that changes them can be watched.
const pollPeriod = 10 * time.Second

// Start follows the files until ctx is done.
func (f *Files) Start(ctx context.Context) error {
	var group sync.WaitGroup
	defer group.Wait()
	group.Go(func() { watchFiles(ctx, f.paths, f.changes.notice) })
	return f.run(ctx, pollPeriod, f.informers(), f)
}

func (f *Files) reconcile(ctx context.Context) error {
	err := f.load()
	if f.next == nil {
		return err
	}
	return errors.Join(err, f.offer(ctx, f.next))
}

// load reads the files. Until all of them fit together, it fails.
func (f *Files) load() error {
	contents, err := readFiles(f.paths)
	if err != nil {
		return fmt.Errorf("read the certificate: %w", err)
	}
	if f.next != nil && slices.EqualFunc(contents, f.read, bytes.Equal) {
		return nil
	}
	var ca []byte
	if f.injects {
		ca = contents[2]
		if len(ca) == 0 {
			return fmt.Errorf("read the CA: %s is empty", f.paths[2])
		}
	}
	next, err := parseIssued(contents[0], contents[1], ca)
	if err != nil {
		return fmt.Errorf("read the certificate of %s: %w", f.paths[0], err)
	}
	f.read, f.next = contents, next
	return nil
}
