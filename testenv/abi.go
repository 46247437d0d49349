package testenv

// Level is a log level as filters and Envoy number them.
type Level uint32

// The levels of the proxy-wasm ABI.
const (
	LevelTrace Level = iota
	LevelDebug
	LevelInfo
	LevelWarn
	LevelError
	LevelCritical
)

// String returns the level's name, and "unknown" for a number the ABI does not define.
func (l Level) String() string {
	names := [...]string{"trace", "debug", "info", "warn", "error", "critical"}
	if int(l) < len(names) {
		return names[l]
	}
	return "unknown"
}

// status is the result of a proxy-wasm hostcall (WasmResult in proxy-wasm-cpp-host).
type status uint32

const (
	statusOK                  status = 0
	statusNotFound            status = 1
	statusBadArgument         status = 2
	statusInvalidMemoryAccess status = 6
	statusCASMismatch         status = 8
	statusInternalFailure     status = 10
	statusBrokenConnection    status = 11
	statusUnimplemented       status = 12
)

// mapType names a header or trailer map in a hostcall.
type mapType uint32

const (
	mapRequestHeaders   mapType = 0
	mapRequestTrailers  mapType = 1
	mapResponseHeaders  mapType = 2
	mapResponseTrailers mapType = 3
	mapCallHeaders      mapType = 6
	mapCallTrailers     mapType = 7
	mapMax              mapType = 7
)

// bufferType names a byte buffer in a hostcall.
type bufferType uint32

const (
	bufferRequestBody  bufferType = 0
	bufferResponseBody bufferType = 1
	bufferCallBody     bufferType = 4
	bufferVMConfig     bufferType = 6
	bufferPluginConfig bufferType = 7
	bufferMax          bufferType = 8
)

// The directions that continue_stream and close_stream name; those above are of TCP streams.
const (
	streamTypeResponse   uint32 = 1
	streamTypeDownstream uint32 = 2
	streamTypeUpstream   uint32 = 3
	streamTypeMax        uint32 = 3
)

// What a filter returns from a step. Envoy's conversion knows no "continue and end the stream" and
// takes it as continue; anything not listed is a stop.
const (
	headersContinue      uint64 = 0
	headersStop          uint64 = 1
	headersContinueEnd   uint64 = 2
	headersStopAndBuffer uint64 = 3
	dataContinue         uint64 = 0
	dataStopAndBuffer    uint64 = 1
	dataStopAndWait      uint64 = 2
	// actionStopIteration is the stop that a local response forces.
	actionStopIteration uint64 = ^uint64(0)
)

// callback is an entry point that a filter may export.
type callback int

const (
	onContextCreate callback = iota
	onVMStart
	onConfigure
	onTick
	onRequestHeaders
	onRequestBody
	onRequestTrailers
	onResponseHeaders
	onResponseBody
	onResponseTrailers
	onHTTPCallResponse
	onQueueReady
	onDone
	onLog
	onDelete
	callbackCount
)

// callbackExports are the export names, in the order of the constants.
var callbackExports = [callbackCount]string{
	onContextCreate:    "proxy_on_context_create",
	onVMStart:          "proxy_on_vm_start",
	onConfigure:        "proxy_on_configure",
	onTick:             "proxy_on_tick",
	onRequestHeaders:   "proxy_on_request_headers",
	onRequestBody:      "proxy_on_request_body",
	onRequestTrailers:  "proxy_on_request_trailers",
	onResponseHeaders:  "proxy_on_response_headers",
	onResponseBody:     "proxy_on_response_body",
	onResponseTrailers: "proxy_on_response_trailers",
	onHTTPCallResponse: "proxy_on_http_call_response",
	onQueueReady:       "proxy_on_queue_ready",
	onDone:             "proxy_on_done",
	onLog:              "proxy_on_log",
	onDelete:           "proxy_on_delete",
}
