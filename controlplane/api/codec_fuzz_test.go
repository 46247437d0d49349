package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tollgate/tollgate/controlplane/apikey/strictjson"
)

func FuzzParseAcquireReply(f *testing.F) {
	f.Add([]byte(`{"op_id":"b-1","verdict":"granted","lease":{"credits":2,"available":1,"account":"a","key":"k"}}`))
	f.Fuzz(func(t *testing.T, data []byte) { parseLikeUnmarshal(t, data, ParseAcquireReply) })
}

func FuzzParseSyncReply(f *testing.F) {
	f.Add([]byte(`{"acked":["b-1"],"leases":[{"lease":"l","used":1,"action":"keep"}],"changes":[{"seq":1,"kind":"all"}],"more":true}`))
	f.Fuzz(func(t *testing.T, data []byte) { parseLikeUnmarshal(t, data, ParseSyncReply) })
}

// parseLikeUnmarshal expects parse to read what json.Unmarshal reads from the same document without the fields that the
// contract does not have, and to refuse the rest: that, and what strictjson.Parse refuses, and null anywhere else than as
// a field's value.
func parseLikeUnmarshal[T any](t *testing.T, data []byte, parse func([]byte) (T, error)) {
	got, err := parse(data)
	if err != nil && !errors.Is(err, ErrInvalid) {
		t.Fatalf("error %v is no ErrInvalid", err)
	}
	want, refusal := unmarshalKnown[T](data)
	if (err == nil) != (refusal == nil) {
		t.Fatalf("parse: %v; encoding/json: %v", err, refusal)
	}
	if diff := cmp.Diff(want, got); err == nil && diff != "" {
		t.Fatalf("read (-encoding/json +parse):\n%s", diff)
	}
}

var errNull = errors.New("null is no item")

func unmarshalKnown[T any](data []byte) (T, error) {
	var v T
	tree, err := strictjson.Parse(data)
	if err != nil {
		return v, err
	}
	plain, err := known(tree, reflect.TypeFor[T]())
	if err != nil {
		return v, err
	}
	text, err := json.Marshal(plain)
	if err != nil {
		return v, fmt.Errorf("marshal what was parsed: %w", err)
	}
	return v, json.Unmarshal(text, &v)
}

// known makes of v, which is to be read as a t, a value for json.Marshal that has fields of t alone.
func known(v strictjson.Value, t reflect.Type) (any, error) {
	switch v := v.(type) {
	case nil:
		return nil, errNull
	case strictjson.Number:
		return json.Number(v), nil
	case []strictjson.Member:
		return knownMembers(v, t)
	case []strictjson.Value:
		items := []any{}
		for _, item := range v {
			if t.Kind() != reflect.Slice {
				break
			}
			plain, err := known(item, t.Elem())
			if err != nil {
				return nil, err
			}
			items = append(items, plain)
		}
		return items, nil
	}
	return v, nil
}

func knownMembers(members []strictjson.Member, t reflect.Type) (any, error) {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	object := map[string]any{}
	for i := 0; t.Kind() == reflect.Struct && i < t.NumField(); i++ {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		for _, m := range members {
			if m.Name != name || m.Value == nil {
				continue
			}
			plain, err := known(m.Value, t.Field(i).Type)
			if err != nil {
				return nil, err
			}
			object[name] = plain
		}
	}
	return object, nil
}
