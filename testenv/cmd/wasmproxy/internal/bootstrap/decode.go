package bootstrap

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strings"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"
	"sigs.k8s.io/yaml"

	// Linked in so that their @type resolves. The last two are known only to be refused by path
	// instead of by type.
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/file/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/stream/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/wasm/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/formatter/req_without_query/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
)

// protoPosition is protojson's line and column, which point into JSON that the operator never saw.
var protoPosition = regexp.MustCompile(`^proto:[\s\x{a0}]*(\(line \d+:\d+\):[\s\x{a0}]*)?`)

func decode(data []byte) (*bootstrapv3.Bootstrap, error) {
	if err := oneDocument(data); err != nil {
		return nil, err
	}
	asJSON, err := yaml.YAMLToJSONStrict(data)
	if err != nil {
		return nil, fmt.Errorf("parse YAML: %w", err)
	}
	msg := new(bootstrapv3.Bootstrap)
	if err := protojson.Unmarshal(asJSON, msg); err != nil {
		return nil, fmt.Errorf("match Envoy's bootstrap schema: %s", protoPosition.ReplaceAllString(err.Error(), ""))
	}
	return msg, nil
}

// oneDocument refuses a second YAML document: the decoder would drop it without a word.
func oneDocument(data []byte) error {
	scan := bufio.NewScanner(bytes.NewReader(data))
	scan.Buffer(nil, len(data)+1)
	content := false
	for scan.Scan() {
		line := strings.TrimRight(scan.Text(), " \t\r")
		if content && (line == "---" || strings.HasPrefix(line, "--- ")) {
			return errors.New("parse YAML: the file holds more than one document, expected one")
		}
		if line != "" && line != "---" && !strings.HasPrefix(strings.TrimLeft(line, " \t"), "#") {
			content = true
		}
	}
	return scan.Err()
}

// validator is what protoc-gen-validate adds to every Envoy message.
type validator interface{ ValidateAll() error }

// validate applies Envoy's own field rules to msg and to every message packed in it.
func validate(msg proto.Message) error {
	var errs []error
	check := func(path string, m proto.Message) {
		v, ok := m.(validator)
		if !ok {
			return
		}
		if err := v.ValidateAll(); err != nil {
			if path != "" {
				err = fmt.Errorf("%s: %w", path, err)
			}
			errs = append(errs, err)
		}
	}
	check("", msg)
	err := walk(msg, func(f field) (bool, error) {
		if f.unpacked != nil {
			check(f.path, f.unpacked)
		}
		return true, nil
	})
	return errors.Join(append(errs, err)...)
}

// field is one populated field met on a walk.
type field struct {
	// path is for people: list indexes and map keys, nothing else.
	path string
	// key is path with indexes left out and packed messages marked by "@" and their short name.
	key string
	// unpacked is the message inside, where the field is an Any.
	unpacked proto.Message
}

// walk visits every populated field of msg depth first, through lists, maps and Anys. visit says
// whether to go on below the field.
func walk(msg proto.Message, visit func(field) (bool, error)) error {
	w := walker{visit: visit}
	w.message(field{}, msg.ProtoReflect())
	return errors.Join(w.errs...)
}

type walker struct {
	visit func(field) (bool, error)
	errs  []error
}

func (w *walker) message(at field, m protoreflect.Message) {
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		child := field{path: join(at.path, string(fd.Name())), key: join(at.key, string(fd.Name()))}
		switch {
		case fd.IsMap():
			w.mapField(child, fd, v.Map())
		case fd.IsList():
			list := v.List()
			for i := range list.Len() {
				item := field{path: fmt.Sprintf("%s[%d]", child.path, i), key: child.key + "[]"}
				w.value(item, fd, list.Get(i))
			}
		default:
			w.value(child, fd, v)
		}
		return true
	})
}

func (w *walker) mapField(at field, fd protoreflect.FieldDescriptor, m protoreflect.Map) {
	m.Range(func(k protoreflect.MapKey, v protoreflect.Value) bool {
		item := field{path: fmt.Sprintf("%s[%q]", at.path, k.String()), key: at.key + "[]"}
		w.value(item, fd.MapValue(), v)
		return true
	})
}

func (w *walker) value(at field, fd protoreflect.FieldDescriptor, v protoreflect.Value) {
	if fd.Message() == nil {
		w.visitOnly(at)
		return
	}
	m := v.Message()
	if packed, ok := m.Interface().(*anypb.Any); ok {
		inner, err := packed.UnmarshalNew()
		if err != nil {
			w.errs = append(w.errs, fmt.Errorf("%s: unpack %s: %w", at.path, packed.GetTypeUrl(), err))
			return
		}
		at.unpacked = inner
		at.key += "@" + string(inner.ProtoReflect().Descriptor().Name())
		m = inner.ProtoReflect()
	}
	if w.visitOnly(at) {
		w.message(at, m)
	}
}

func (w *walker) visitOnly(at field) bool {
	deeper, err := w.visit(at)
	if err != nil {
		w.errs = append(w.errs, err)
	}
	return deeper && err == nil
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}
