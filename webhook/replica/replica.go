// SPDX-License-Identifier: Apache-2.0

// Package replica lets each server say what it is, in a Lease of its own, so that
// somebody outside sees how many there are, of which version, and whether they judge
// by the same policies.
package replica

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/go-logr/logr"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/rand"
	applyv1 "k8s.io/client-go/applyconfigurations/coordination/v1"
	applymetav1 "k8s.io/client-go/applyconfigurations/meta/v1"
	typedv1 "k8s.io/client-go/kubernetes/typed/coordination/v1"
)

// What stands in a replica's Lease. The holder is the name of the host, which in a
// cluster is the pod's.
const (
	label              = "sallyport.dev/replica" // true
	versionAnnotation  = "sallyport.dev/version"
	policiesAnnotation = "sallyport.dev/policy-generation"
)

const (
	// duration is how long a Lease counts without being renewed.
	duration = 150 * time.Second
	renewal  = time.Minute
	// lookEvery is how soon a change of the policies is told.
	lookEvery = 5 * time.Second
	// forgotten is after how long what a dead replica has left is cleaned away.
	forgotten = time.Hour
)

// Options say what a replica tells.
type Options struct {
	// Leases are those of the server's namespace. It needs create, patch, list and
	// delete.
	Leases  typedv1.LeaseInterface
	Host    string
	Version string
	// Pod is the server's, with which its Lease ends, whatever becomes of the server's
	// rights; nil if it runs in none. // optional
	Pod *Pod
	// Policies returns a number for the policies in force; empty is none yet.
	Policies func() string
	Log      logr.Logger
}

// A Pod is known by its name and UID.
type Pod struct {
	Name string
	UID  types.UID
}

// Announce says what the replica is until ctx is done, and then that it is gone. What
// fails is logged once, and tried again: no verdict depends on it.
func Announce(ctx context.Context, opts Options) error {
	a := &announcer{Options: opts, name: "sallyport-" + rand.String(10), since: metav1.NowMicro()}
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		a.step(ctx)
		select {
		case <-ctx.Done():
			a.leave(context.WithoutCancel(ctx))
			return nil
		case <-ticker.C:
		}
	}
}

type announcer struct {
	Options
	name  string
	since metav1.MicroTime

	told    string
	at      time.Time
	failing bool
}

func (a *announcer) step(ctx context.Context) {
	policies := a.Policies()
	if policies == a.told && time.Since(a.at) < renewal {
		return
	}
	err := a.write(ctx, policies)
	if err == nil {
		a.told, a.at, a.failing = policies, time.Now(), false
		err = a.clean(ctx)
	}
	if err != nil && ctx.Err() == nil && !a.failing {
		a.failing = true
		a.Log.Error(err, "Could not say in a Lease what this replica is, will try again")
	}
}

func (a *announcer) write(ctx context.Context, policies string) error {
	lease := applyv1.Lease(a.name, "").WithLabels(map[string]string{label: "true", "app.kubernetes.io/name": "sallyport"}).
		WithAnnotations(map[string]string{versionAnnotation: a.Version, policiesAnnotation: policies}).
		WithSpec(applyv1.LeaseSpec().WithHolderIdentity(a.Host).WithAcquireTime(a.since).
			WithLeaseDurationSeconds(int32(duration / time.Second)).WithRenewTime(metav1.NowMicro()))
	lease.Namespace = nil // it is the client's
	if a.Pod != nil {
		lease.WithOwnerReferences(applymetav1.OwnerReference().WithAPIVersion("v1").WithKind("Pod").WithName(a.Pod.Name).WithUID(a.Pod.UID))
	}
	if _, err := a.Leases.Apply(ctx, lease, metav1.ApplyOptions{FieldManager: "sallyport", Force: true}); err != nil {
		return fmt.Errorf("apply Lease %s: %w", a.name, err)
	}
	return nil
}

// clean deletes what replicas have left that died.
func (a *announcer) clean(ctx context.Context) error {
	all, err := a.Leases.List(ctx, metav1.ListOptions{LabelSelector: label})
	if err != nil {
		return fmt.Errorf("list Leases: %w", err)
	}
	for i := range all.Items {
		l := &all.Items[i]
		if t := l.Spec.RenewTime; t != nil && time.Since(t.Time) > forgotten {
			// Several replicas do so.
			_ = a.Leases.Delete(ctx, l.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &l.UID, ResourceVersion: &l.ResourceVersion}})
		}
	}
	return nil
}

func (a *announcer) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	_ = a.Leases.Delete(ctx, a.name, metav1.DeleteOptions{}) // else it ends by itself
}

// A Replica is what one has said of itself.
type Replica struct {
	Host     string    `json:"host"`
	Version  string    `json:"version"`
	Policies string    `json:"policyGeneration"`
	Since    time.Time `json:"since"`
	// Lost says that it has not been heard of for longer than it promised.
	Lost bool `json:"lost"`
}

// List returns the replicas that have said something within the last hour. It needs
// the right to list Leases.
func List(ctx context.Context, leases typedv1.LeaseInterface, now time.Time) ([]Replica, error) {
	all, err := leases.List(ctx, metav1.ListOptions{LabelSelector: label})
	if err != nil {
		return nil, fmt.Errorf("list Leases: %w", err)
	}
	var replicas []Replica
	for i := range all.Items {
		l := &all.Items[i]
		if l.Spec.RenewTime == nil || l.Spec.AcquireTime == nil || now.Sub(l.Spec.RenewTime.Time) > forgotten {
			continue
		}
		replicas = append(replicas, read(l, now))
	}
	return replicas, nil
}

func read(l *coordinationv1.Lease, now time.Time) Replica {
	r := Replica{
		Version: l.Annotations[versionAnnotation], Policies: l.Annotations[policiesAnnotation], Since: l.Spec.AcquireTime.Time,
		Lost: now.Sub(l.Spec.RenewTime.Time) > duration,
	}
	if l.Spec.HolderIdentity != nil {
		r.Host = strings.TrimSpace(*l.Spec.HolderIdentity)
	}
	return r
}
