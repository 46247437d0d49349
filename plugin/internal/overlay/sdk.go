package main

import (
	_ "embed"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const sdkModule = "github.com/proxy-wasm/proxy-wasm-go-sdk"

// sdk adds the SDK's module, its tests and examples left aside, with the replacements made.
func (f files) sdk(source, out string) error {
	if err := f.read(filepath.Join(source, "go.mod"), filepath.Join(out, "go.mod")); err != nil {
		return err
	}
	err := fs.WalkDir(os.DirFS(source), "proxywasm", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		return f.read(filepath.Join(source, path), filepath.Join(out, path))
	})
	if err != nil {
		return fmt.Errorf("read the SDK: %w", err)
	}
	for _, r := range sdkReplacements {
		if err := f.patch(filepath.Join(out, "proxywasm", "internal", r.file), r); err != nil {
			return err
		}
	}
	f[filepath.Join(out, "proxywasm", "internal", "streams.go")] = streamsInSDK()
	return nil
}

//go:embed sdk/streams.go
var streamsSource string

// streamsInSDK is package sdk as a file of the SDK's package, with what its state needs of it.
func streamsInSDK() string {
	return strings.Replace(streamsSource, "\npackage sdk\n", "\npackage internal\n", 1) + `
// rootOf returns the plugin's context that a context belongs to.
func (s *state) rootOf(id uint32) uint32 {
	if root, ok := s.httpContexts.root(id); ok {
		return root
	}
	return s.contextIDToRootID[id]
}

// lastPluginContext is the one that streams were made for last, nil if there is none.
var (
	lastPluginContext   *pluginContextState
	lastPluginContextID uint32
)

// pluginContext returns a plugin's context, nil if there is none of that id: mostly the one of the stream before.
func (s *state) pluginContext(id uint32) *pluginContextState {
	if lastPluginContext == nil || lastPluginContextID != id {
		lastPluginContext, lastPluginContextID = s.pluginContexts[id], id
	}
	return lastPluginContext
}

// deletePluginContext forgets a plugin's context.
func (s *state) deletePluginContext(id uint32) {
	delete(s.pluginContexts, id)
	lastPluginContext = nil
}

// exists reports whether there is a context of that id.
func (s *state) exists(id uint32) bool {
	if _, ok := s.httpContexts.find(id); ok {
		return true
	}
	_, ok := s.contextIDToRootID[id]
	return ok
}
`
}

// sdkReplacements are changes of the SDK's package proxywasm/internal.
var sdkReplacements = []replacement{
	{"vmstate.go", "\thttpContexts   map[uint32]types.HttpContext\n", "\thttpContexts   streams[types.HttpContext]\n", 1},
	{"vmstate.go", "\thttpContexts:      make(map[uint32]types.HttpContext),\n", "", 1},
	{"vmstate.go", "s.httpContexts[contextID]; ok {", "s.httpContexts.find(contextID); ok {", 1},
	{"vmstate.go", "\ts.contextIDToRootID[contextID] = pluginContextID\n\ts.httpContexts[contextID] = ctx\n",
		"\ts.httpContexts.put(contextID, pluginContextID, ctx)\n", 1},
	{"vmstate.go", "\troot, ok := s.pluginContexts[pluginContextID]\n\tif !ok {\n\t\tpanic(\"invalid plugin context id\")\n\t}\n\n" +
		"\tif _, ok := s.httpContexts", "\troot := s.pluginContext(pluginContextID)\n\tif root == nil {\n\t\tpanic(\"invalid plugin context id\")\n\t}\n\n" +
		"\tif _, ok := s.httpContexts", 1},
	{"vmstate.go", "s.contextIDToRootID[s.activeContextID]", "s.rootOf(s.activeContextID)", 1},
	{"vmstate_test_export.go", "\t\thttpContexts:      make(map[uint32]types.HttpContext),\n", "", 1},

	{"abi_callback_l7.go", "currentState.httpContexts[contextID]", "currentState.httpContexts.find(contextID)", 6},
	{"abi_callback_l7.go", "if _, ok := currentState.contextIDToRootID[ctxID]; ok {", "if currentState.exists(ctxID) {", 1},
	{"abi_callback_l7.go", "\treturn ctx.OnHttpRequestHeaders(int(numHeaders), endOfStream)\n",
		"\tbefore := lending()\n\taction := ctx.OnHttpRequestHeaders(int(numHeaders), endOfStream)\n" +
			"\tif action == types.ActionContinue {\n\t\ttakeBack(before)\n\t}\n\treturn action\n", 1},
	{"abi_callback_l7.go", "\treturn ctx.OnHttpResponseHeaders(int(numHeaders), endOfStream)\n",
		"\tbefore := lending()\n\taction := ctx.OnHttpResponseHeaders(int(numHeaders), endOfStream)\n" +
			"\tif action == types.ActionContinue {\n\t\ttakeBack(before)\n\t}\n\treturn action\n", 1},
	{"abi_callback_l7.go", "//go:wasmexport proxy_on_request_body\n", "", 1},
	{"abi_callback_l7.go", "//go:wasmexport proxy_on_response_body\n", "", 1},
	{"abi_callback_l7.go", "//go:wasmexport proxy_on_response_trailers\n", "", 1},

	{"abi_callback_lifecycle.go", "ctx, ok := currentState.httpContexts[contextID]; ok {",
		"ctx, ok := currentState.httpContexts.find(contextID); ok {", 1},
	// A stream has no done event of its own.
	{"abi_callback_lifecycle.go", "\tif ctx, ok := currentState.pluginContexts[contextID]; ok {\n",
		"\tif _, ok := currentState.httpContexts.find(contextID); ok {\n\t\treturn true\n\t}\n" +
			"\tif ctx, ok := currentState.pluginContexts[contextID]; ok {\n", 1},
	{"abi_callback_lifecycle.go", "\tdelete(currentState.contextIDToRootID, contextID)\n",
		"\tif currentState.httpContexts.remove(contextID) {\n\t\treturn\n\t}\n" +
			"\tdelete(currentState.contextIDToRootID, contextID)\n", 1},
	{"abi_callback_lifecycle.go", "\t} else if _, ok = currentState.httpContexts[contextID]; ok {\n" +
		"\t\tdelete(currentState.httpContexts, contextID)\n", "", 1},
	{"abi_callback_lifecycle.go", "delete(currentState.pluginContexts, contextID)", "currentState.deletePluginContext(contextID)", 1},

	{"abi_callback_alloc.go", "\tbuf := make([]byte, size)\n\treturn &buf[0]\n", "\treturn allocate(size)\n", 1},
}
