// SPDX-License-Identifier: Apache-2.0

// Package v1alpha1 holds the objects in which users write down the standard for
// egress: EgressPolicy and EgressExemption. What they mean together is made of
// them by package policy.
//
// +kubebuilder:object:generate=true
// +groupName=policy.sallyport.dev
package v1alpha1

//go:generate go tool -modfile=../../../test/tools/gen/go.mod controller-gen object crd:generateEmbeddedObjectMeta=false paths=. output:crd:dir=../../../deploy/crds
