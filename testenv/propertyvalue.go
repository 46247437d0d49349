package testenv

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ErrPropertyValue reports a value that Envoy has no bytes for.
var ErrPropertyValue = errors.New("value that a property cannot have")

// statusSerializationFailure is what get_property answers for a value without bytes: null, a list or map with null in
// it, or a group of attributes such as "request" as a whole.
const statusSerializationFailure status = 3

// PropertyBytes returns what proxy_get_property gives a filter for a value (context.cc serializeValue): strings and
// bytes as they are; a boolean as one byte; integers and doubles in eight bytes, little-endian; durations and times in
// nanoseconds, as such integers, times since 1970; Metadata, Locality and Node as protobuf messages; maps as header
// pairs of key and value, lists as pairs of element and nothing, each in these forms. Maps are ordered by key; Envoy's
// order is arbitrary. Anything else, nil too, is an error wrapping ErrPropertyValue.
func PropertyBytes(value any) ([]byte, error) {
	switch v := value.(type) {
	case message:
		return v.marshal()
	case time.Time:
		return littleEndian(uint64(v.UnixNano())), nil
	case fields:
		return nil, fmt.Errorf("%w: a group of attributes", ErrPropertyValue)
	}
	v := reflect.ValueOf(value)
	switch {
	case !v.IsValid():
	case v.Kind() == reflect.String:
		return []byte(v.String()), nil
	case v.Kind() == reflect.Bool:
		return []byte{byte(flag(v.Bool()))}, nil
	case v.CanInt():
		return littleEndian(uint64(v.Int())), nil
	case v.CanUint():
		return littleEndian(v.Uint()), nil
	case v.CanFloat():
		return littleEndian(math.Float64bits(v.Float())), nil
	case isBytes(v):
		return slices.Clone(v.Bytes()), nil
	case isMap(v):
		return mapBytes(v)
	case v.Kind() == reflect.Slice:
		return listBytes(v)
	}
	return nil, fmt.Errorf("%w: %T", ErrPropertyValue, value)
}

func littleEndian(v uint64) []byte { return binary.LittleEndian.AppendUint64(nil, v) }

func isBytes(v reflect.Value) bool {
	return v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Uint8
}

func isMap(v reflect.Value) bool {
	return v.Kind() == reflect.Map && v.Type().Key().Kind() == reflect.String
}

// sortedKeys returns the keys of a map that isMap.
func sortedKeys(v reflect.Value) []reflect.Value {
	return slices.SortedFunc(slices.Values(v.MapKeys()), func(a, b reflect.Value) int {
		return strings.Compare(a.String(), b.String())
	})
}

func mapBytes(v reflect.Value) ([]byte, error) {
	var pairs []Header
	for _, key := range sortedKeys(v) {
		b, err := PropertyBytes(v.MapIndex(key).Interface())
		if err != nil {
			return nil, fmt.Errorf("%q: %w", key.String(), err)
		}
		pairs = append(pairs, Header{key.String(), string(b)})
	}
	return pairsBytes(pairs), nil
}

func listBytes(v reflect.Value) ([]byte, error) {
	var pairs []Header
	for i := range v.Len() {
		b, err := PropertyBytes(v.Index(i).Interface())
		if err != nil {
			return nil, fmt.Errorf("[%d]: %w", i, err)
		}
		pairs = append(pairs, Header{string(b), ""})
	}
	return pairsBytes(pairs), nil
}

func pairsBytes(pairs []Header) []byte {
	buf := make([]byte, pairsSize(pairs))
	putPairs(buf, pairs)
	return buf
}

// pathParts splits the path of a get_property, whose parts are separated by NUL. One NUL at the end is no part; an empty
// path has none (context.cc getProperty).
func pathParts(path string) []string {
	if path == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(path, "\x00"), "\x00")
}

// fields is a group of attributes that are known by name only, such as "request" or "xds": it has no bytes as a whole.
type fields map[string]any

// absent stands for a value that is not there.
type absent struct{}

// property follows path into value, by names of fields, keys of maps and indexes of lists, and serialises what is
// there: OK, NotFound or SerializationFailure.
func property(value any, path []string) ([]byte, status) {
	for _, part := range path {
		value = child(value, part)
	}
	if _, ok := value.(absent); ok {
		return nil, statusNotFound
	}
	b, err := PropertyBytes(value)
	if err != nil {
		return nil, statusSerializationFailure
	}
	return b, statusOK
}

// child returns what value has under a part of a path, or absent (context.cc getProperty).
func child(value any, part string) any {
	if m, ok := value.(message); ok {
		value = m.fields()
	}
	v := reflect.ValueOf(value)
	switch {
	case !v.IsValid():
	case isMap(v):
		if e := v.MapIndex(reflect.ValueOf(part).Convert(v.Type().Key())); e.IsValid() {
			return e.Interface()
		}
	case v.Kind() == reflect.Slice && !isBytes(v):
		if i, err := strconv.Atoi(part); err == nil && i >= 0 && i < v.Len() {
			return v.Index(i).Interface()
		}
	}
	return absent{}
}
