package testenv

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"time"
)

// message is a protobuf message that a property may be or lead into.
type message interface {
	// fields are the message's, by their names in the .proto file; one that is not set has its default.
	fields() fields
	// marshal returns the wire form, maps ordered by key. The error wraps ErrPropertyValue.
	marshal() ([]byte, error)
}

// Metadata is envoy.config.core.v3.Metadata without its typed part: by namespace, a google.protobuf.Struct, whose
// values are nil, strings, booleans, numbers, maps by string and lists. Every number is a double.
type Metadata map[string]map[string]any

func (m Metadata) fields() fields {
	byNamespace := make(map[string]any, len(m))
	for namespace, s := range m {
		byNamespace[namespace] = structOf(s)
	}
	return fields{"filter_metadata": byNamespace, "typed_filter_metadata": map[string]any{}}
}

func (m Metadata) marshal() ([]byte, error) {
	if len(m) == 0 {
		return nil, nil // of most streams, and without asking for an order
	}
	var b []byte
	for _, namespace := range slices.Sorted(maps.Keys(m)) {
		value, err := marshalStruct(structOf(m[namespace]))
		if err != nil {
			return nil, fmt.Errorf("%q: %w", namespace, err)
		}
		b = appendMapEntry(b, 1, namespace, value)
	}
	return b, nil
}

// Locality is envoy.config.core.v3.Locality.
type Locality struct{ Region, Zone, SubZone string }

func (l Locality) fields() fields {
	return fields{"region": l.Region, "zone": l.Zone, "sub_zone": l.SubZone}
}

func (l Locality) marshal() ([]byte, error) {
	b := appendString(nil, 1, l.Region)
	b = appendString(b, 2, l.Zone)
	return appendString(b, 3, l.SubZone), nil
}

// Node is what a filter can know of its Envoy: of envoy.config.core.v3.Node, the fields that a configuration sets. A real
// Envoy adds its version and extensions, and so gives more bytes for the whole.
type Node struct {
	ID, Cluster string
	// Metadata is a google.protobuf.Struct, with values as in Metadata. It is left out when nil.
	Metadata map[string]any
	// Locality is left out when it is zero.
	Locality Locality
}

func (n Node) fields() fields {
	return fields{"id": n.ID, "cluster": n.Cluster, "metadata": structOf(n.Metadata), "locality": n.Locality}
}

func (n Node) marshal() ([]byte, error) {
	b := appendString(nil, 1, n.ID)
	b = appendString(b, 2, n.Cluster)
	if n.Metadata != nil {
		metadata, err := marshalStruct(structOf(n.Metadata))
		if err != nil {
			return nil, fmt.Errorf("metadata: %w", err)
		}
		b = appendField(b, 3, metadata)
	}
	if n.Locality == (Locality{}) {
		return b, nil
	}
	locality, err := n.Locality.marshal()
	return appendField(b, 4, locality), err
}

// structOf returns a Struct whose values have the types that CEL gives them: nil, string, bool, float64,
// map[string]any and []any. What no Struct can hold becomes a notValue.
func structOf(m map[string]any) map[string]any {
	s := make(map[string]any, len(m))
	for key, value := range m {
		s[key] = structValue(value)
	}
	return s
}

// notValue stands for a value that a Struct cannot hold; it has no bytes.
type notValue struct{ value any }

func structValue(value any) any {
	switch value.(type) {
	case nil:
		return nil
	case time.Duration:
		return notValue{value}
	}
	v := reflect.ValueOf(value)
	switch {
	case v.Kind() == reflect.String:
		return v.String()
	case v.Kind() == reflect.Bool:
		return v.Bool()
	case v.CanInt():
		return float64(v.Int())
	case v.CanUint():
		return float64(v.Uint())
	case v.CanFloat():
		return v.Float()
	case isMap(v):
		m := make(map[string]any, v.Len())
		for key, element := range v.Seq2() {
			m[key.String()] = structValue(element.Interface())
		}
		return m
	case v.Kind() == reflect.Slice && !isBytes(v):
		list := make([]any, v.Len())
		for i := range list {
			list[i] = structValue(v.Index(i).Interface())
		}
		return list
	}
	return notValue{value}
}

// marshalStruct is the wire form of a google.protobuf.Struct that structOf made.
func marshalStruct(s map[string]any) ([]byte, error) {
	var b []byte
	for _, key := range slices.Sorted(maps.Keys(s)) {
		value, err := marshalValue(s[key])
		if err != nil {
			return nil, fmt.Errorf("%q: %w", key, err)
		}
		b = appendMapEntry(b, 1, key, value)
	}
	return b, nil
}

// The fields of google.protobuf.Value, in struct.proto.
const (
	valueNull   = 1
	valueNumber = 2
	valueString = 3
	valueBool   = 4
	valueStruct = 5
	valueList   = 6
)

// Wire types of protobuf.
const (
	wireVarint  = 0
	wireFixed64 = 1
	wireBytes   = 2
)

// marshalValue is the wire form of a google.protobuf.Value, given as structOf leaves it. Its only field is written
// whatever it holds: it is of a oneof.
func marshalValue(value any) ([]byte, error) {
	switch v := value.(type) {
	case nil:
		return append(appendTag(nil, valueNull, wireVarint), 0), nil
	case float64:
		return binary.LittleEndian.AppendUint64(appendTag(nil, valueNumber, wireFixed64), math.Float64bits(v)), nil
	case string:
		return appendField(nil, valueString, []byte(v)), nil
	case bool:
		return append(appendTag(nil, valueBool, wireVarint), byte(flag(v))), nil
	case map[string]any:
		b, err := marshalStruct(v)
		return appendField(nil, valueStruct, b), err
	case []any:
		b, err := marshalList(v)
		return appendField(nil, valueList, b), err
	}
	other, _ := value.(notValue)
	return nil, fmt.Errorf("%w: %T in a Struct", ErrPropertyValue, other.value)
}

func marshalList(list []any) ([]byte, error) {
	var b []byte
	for i, element := range list {
		value, err := marshalValue(element)
		if err != nil {
			return nil, fmt.Errorf("[%d]: %w", i, err)
		}
		b = appendField(b, 1, value)
	}
	return b, nil
}

func appendTag(b []byte, field, wire uint64) []byte { return binary.AppendUvarint(b, field<<3|wire) }

// appendField appends a string or message field.
func appendField(b []byte, field uint64, data []byte) []byte {
	b = binary.AppendUvarint(appendTag(b, field, wireBytes), uint64(len(data)))
	return append(b, data...)
}

// appendString appends a string field, which proto3 leaves out when it is empty.
func appendString(b []byte, field uint64, s string) []byte {
	if s == "" {
		return b
	}
	return appendField(b, field, []byte(s))
}

// appendMapEntry appends an entry of a map field; key and value are there even when empty.
func appendMapEntry(b []byte, field uint64, key string, value []byte) []byte {
	return appendField(b, field, appendField(appendField(nil, 1, []byte(key)), 2, value))
}
