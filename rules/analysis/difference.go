// SPDX-License-Identifier: Apache-2.0

package analysis

import (
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Difference records what makes the message at path, as it was before, the one that
// it is after: as few and as small changes as there can be, so that whatever else
// the user wrote stays as it is spelled. Lists of messages are compared element by
// element if they are as long as before, and are replaced if not.
func (e *Edit) Difference(path *field.Path, before, after proto.Message) {
	b, a := before.ProtoReflect(), after.ProtoReflect()
	fields := a.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		at := path.Child(fd.JSONName())
		switch {
		case b.Has(fd) && !a.Has(fd):
			e.Remove(at)
		case !b.Has(fd) && a.Has(fd):
			e.Set(at, encodable(fd, a.Get(fd)))
		case b.Has(fd) && !b.Get(fd).Equal(a.Get(fd)):
			e.difference(at, fd, b.Get(fd), a.Get(fd))
		}
	}
}

// difference records a change of a field that was there and is there.
func (e *Edit) difference(path *field.Path, fd protoreflect.FieldDescriptor, before, after protoreflect.Value) {
	switch {
	case fd.IsMap():
		e.Replace(path, encodable(fd, after))
	case fd.IsList() && fd.Message() != nil && before.List().Len() == after.List().Len():
		for i := range after.List().Len() {
			b, a := before.List().Get(i), after.List().Get(i)
			e.Difference(path.Index(i), b.Message().Interface(), a.Message().Interface())
		}
	case fd.IsList() && extends(after.List(), before.List()):
		for i := before.List().Len(); i < after.List().Len(); i++ {
			e.Insert(path.Index(i), scalar(fd, after.List().Get(i)))
		}
	case !fd.IsList() && fd.Message() != nil && !isWellKnown(fd):
		e.Difference(path, before.Message().Interface(), after.Message().Interface())
	default:
		e.Replace(path, encodable(fd, after))
	}
}

// extends reports whether a list is another one with more at its end.
func extends(list, by protoreflect.List) bool {
	if list.Len() < by.Len() {
		return false
	}
	for i := range by.Len() {
		if !list.Get(i).Equal(by.Get(i)) {
			return false
		}
	}
	return true
}

// isWellKnown reports whether JSON writes a message as something else than an
// object, such as a Duration.
func isWellKnown(fd protoreflect.FieldDescriptor) bool {
	return fd.Message().ParentFile().Package() == "google.protobuf"
}

// encodable returns a value as [Injection.Value] takes it.
func encodable(fd protoreflect.FieldDescriptor, value protoreflect.Value) any {
	switch {
	case fd.IsMap():
		m := map[string]any{}
		value.Map().Range(func(key protoreflect.MapKey, v protoreflect.Value) bool {
			m[key.String()] = scalar(fd.MapValue(), v)
			return true
		})
		return m
	case fd.IsList() && fd.Message() != nil:
		list := make([]proto.Message, value.List().Len())
		for i := range list {
			list[i] = value.List().Get(i).Message().Interface()
		}
		return list
	case fd.IsList():
		list := make([]any, value.List().Len())
		for i := range list {
			list[i] = scalar(fd, value.List().Get(i))
		}
		return list
	default:
		return scalar(fd, value)
	}
}

func scalar(fd protoreflect.FieldDescriptor, value protoreflect.Value) any {
	switch fd.Kind() {
	case protoreflect.MessageKind, protoreflect.GroupKind:
		return value.Message().Interface()
	case protoreflect.EnumKind:
		if v := fd.Enum().Values().ByNumber(value.Enum()); v != nil {
			return string(v.Name())
		}
		return value.Enum()
	default:
		return value.Interface()
	}
}
