// SPDX-License-Identifier: Apache-2.0

package analysis

import (
	"reflect"
	"runtime/debug"
	"slices"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/sallyport-dev/sallyport/rules/config"
	"github.com/sallyport-dev/sallyport/rules/policy"
)

// A Mutator describes one change that Sallyport makes to objects. Applying it
// again changes nothing more.
type Mutator struct {
	// Name is "mutate/" and what is filled in, such as "mutate/timeout".
	Name string
	// Doc is a title line, an empty line and text in plain prose.
	Doc string
	// Reads lists the kinds of other objects that the mutator looks up in
	// the mesh. // optional
	Reads []*Kind
	// Apply is made by [To], and by slices.Concat of several.
	Apply []Apply
}

// Apply is the code of a mutator, for one type of object.
type Apply struct {
	typ   reflect.Type
	apply func(*Edit, Object)
}

// To returns an Apply that changes objects of type T.
func To[T Object](apply func(*Edit, T)) []Apply {
	return []Apply{{
		typ:   reflect.TypeFor[T](),
		apply: func(edit *Edit, obj Object) { apply(edit, obj.(T)) },
	}}
}

// Kinds returns the kinds of objects that the mutator changes.
func (m *Mutator) Kinds() []*Kind {
	var kinds []*Kind
	for _, k := range Kinds() {
		if slices.ContainsFunc(m.Apply, func(a Apply) bool { return a.typ == k.typ }) {
			kinds = append(kinds, k)
		}
	}
	return kinds
}

// An Edit is the application of one mutator to one object, and all that the
// mutator may know.
type Edit struct {
	Mutator *Mutator
	Policy  *policy.Policy
	Config  *config.Configuration
	Mesh    Mesh

	injections *[]Injection
	summary    string
	tell       func(*Mutator, string)
	await      func()
}

// Set records that the mutator has set the field at path, which was absent
// before, to value: a protobuf message, a list of them as []proto.Message, or what
// encodes to JSON. Patches are made of these records, in their order: what is not
// recorded is lost. A path counts indices as they are after the records before.
func (e *Edit) Set(path *field.Path, value any) { e.record(Add, path, value) }

// Insert records that the mutator has put value into a list, at the index that the
// path ends with.
func (e *Edit) Insert(path *field.Path, value any) { e.record(Add, path, value) }

// Replace records that the mutator has put value in place of what was at path.
func (e *Edit) Replace(path *field.Path, value any) { e.record(Replace, path, value) }

// Remove records that the mutator has removed the field or list element at path.
func (e *Edit) Remove(path *field.Path) { e.record(Remove, path, nil) }

// Summarize says in one line what the records of this mutator are about: users are
// told this instead of each of them.
func (e *Edit) Summarize(summary string) { e.summary = summary }

// Note says why the mutator leaves the object alone.
func (e *Edit) Note(note string) { e.tell(e.Mutator, note) }

// Await says that the mutator leaves the object alone only because the mesh does not
// know an object that somebody may have created a moment ago.
func (e *Edit) Await() { e.await() }

func (e *Edit) record(op string, path *field.Path, value any) {
	*e.injections = append(*e.injections, Injection{Mutator: e.Mutator, Op: op, Path: path, Value: value})
}

// An Injection is one field that a mutator has changed.
type Injection struct {
	Mutator *Mutator
	// Op is [Add], [Replace] or [Remove].
	Op   string
	Path *field.Path
	// Value is a protobuf message, a []proto.Message or what encodes to JSON; nil
	// for what is removed.
	Value any
	// Summary stands for all injections of the mutator, if it is not empty.
	Summary string
}

// Mutate applies the mutators in order to in.Object, which is changed in place,
// and returns what they have changed. After a panic, which is returned, the object
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
		for _, a := range current.Apply {
			if a.typ == typ {
				injections = append(injections, a.mutate(current, &in)...)
			}
		}
	}
	return injections, nil
}

func (a *Apply) mutate(m *Mutator, in *Input) []Injection {
	var injections []Injection
	edit := &Edit{Mutator: m, Policy: in.Policy, Config: in.Config, Mesh: in.Mesh, tell: in.Tell, await: in.Await, injections: &injections}
	a.apply(edit, in.Object)
	for i := range injections {
		injections[i].Summary = edit.summary
	}
	return injections
}
