// SPDX-License-Identifier: Apache-2.0

package analysis

import (
	"reflect"
	"runtime/debug"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/sallyport-dev/sallyport/rules/config"
	"github.com/sallyport-dev/sallyport/rules/policy"
)

// A Mutator describes one change that Sallyport makes to objects. It sets only
// what is not set, and applying it again changes nothing more.
type Mutator struct {
	// Name is "mutate/" and what is filled in, such as "mutate/timeout".
	Name string
	// Doc is a title line, an empty line and text in plain prose.
	Doc string
	// Reads lists the kinds of other objects that the mutator looks up in
	// the mesh. // optional
	Reads []*Kind
	// Apply is made by [To].
	Apply Apply
}

// Apply is the code of a mutator, for one type of object.
type Apply struct {
	typ   reflect.Type
	apply func(*Edit, Object)
}

// To returns an Apply that changes objects of type T.
func To[T Object](apply func(*Edit, T)) Apply {
	return Apply{
		typ:   reflect.TypeFor[T](),
		apply: func(edit *Edit, obj Object) { apply(edit, obj.(T)) },
	}
}

// Kind returns the kind of objects that the mutator changes.
func (m *Mutator) Kind() *Kind {
	for _, k := range Kinds() {
		if k.typ == m.Apply.typ {
			return k
		}
	}
	return nil
}

// An Edit is the application of one mutator to one object, and all that the
// mutator may know.
type Edit struct {
	Mutator *Mutator
	Policy  *policy.Policy
	Config  *config.Configuration
	Mesh    Mesh

	injections *[]Injection
}

// Set records that the mutator has set the field at path, which was absent
// before, to value: a protobuf message or what encodes to JSON. Patches are made
// of these records: what is not recorded is lost.
func (e *Edit) Set(path *field.Path, value any) {
	*e.injections = append(*e.injections, Injection{Mutator: e.Mutator, Path: path, Value: value})
}

// An Injection is one field that a mutator has set.
type Injection struct {
	Mutator *Mutator
	Path    *field.Path
	// Value is a protobuf message or what encodes to JSON.
	Value any
}

// Mutate applies the mutators in order to in.Object, which is changed in place,
// and returns what they have set. After a panic, which is returned, the object
// must be thrown away.
func Mutate(mutators []*Mutator, input Input) (injections []Injection, failure *PanicError) {
	in := input.withDefaults()
	var current *Mutator
	defer func() {
		if v := recover(); v != nil {
			injections, failure = nil, &PanicError{Name: current.Name, Value: v, Stack: debug.Stack()}
		}
	}()
	typ := reflect.TypeOf(in.Object)
	for _, current = range mutators {
		if current.Apply.typ != typ {
			continue
		}
		current.Apply.apply(&Edit{
			Mutator: current, Policy: in.Policy, Config: in.Config, Mesh: in.Mesh,
			injections: &injections,
		}, in.Object)
	}
	return injections, nil
}
