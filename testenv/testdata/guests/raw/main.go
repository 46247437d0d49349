// Command raw is a filter without the SDK: it makes hostcalls by hand, so that tests can see the
// bytes and the statuses themselves. What it does on a request is chosen by its configuration.
package main

import (
	"encoding/hex"
	"fmt"
	"unsafe"
)

func main() {}

//go:wasmimport env proxy_log
func proxyLog(level uint32, data unsafe.Pointer, size uint32) uint32

//go:wasmimport env proxy_get_buffer_bytes
func getBufferBytes(kind, start, length uint32, data, size unsafe.Pointer) uint32

//go:wasmimport env proxy_set_buffer_bytes
func setBufferBytes(kind, start, length uint32, data unsafe.Pointer, size uint32) uint32

//go:wasmimport env proxy_get_buffer_status
func getBufferStatus(kind uint32, length, flags unsafe.Pointer) uint32

//go:wasmimport env proxy_get_header_map_pairs
func getPairs(kind uint32, data, size unsafe.Pointer) uint32

//go:wasmimport env proxy_get_header_map_size
func getMapSize(kind uint32, size unsafe.Pointer) uint32

//go:wasmimport env proxy_get_header_map_value
func getValue(kind uint32, key unsafe.Pointer, keySize uint32, data, size unsafe.Pointer) uint32

//go:wasmimport env proxy_set_effective_context
func setEffectiveContext(id uint32) uint32

//go:wasmimport env proxy_define_metric
func defineMetric(kind uint32, name unsafe.Pointer, nameSize uint32, id unsafe.Pointer) uint32

//go:wasmimport env proxy_increment_metric
func incrementMetric(id uint32, offset int64) uint32

//go:wasmimport env proxy_record_metric
func recordMetric(id uint32, value uint64) uint32

//go:wasmimport env proxy_get_metric
func getMetric(id uint32, value unsafe.Pointer) uint32

//go:wasmimport env proxy_get_status
func getStatus(code, data, size unsafe.Pointer) uint32

//go:wasmimport env proxy_done
func proxyDone() uint32

//go:wasmimport env proxy_continue_stream
func continueStream(kind uint32) uint32

//go:wasmimport env proxy_close_stream
func closeStream(kind uint32) uint32

//go:wasmimport env proxy_send_local_response
func sendLocalResponse(code uint32, details unsafe.Pointer, detailsSize uint32, body unsafe.Pointer, bodySize uint32, headers unsafe.Pointer, headersSize uint32, grpc int32) uint32

//go:wasmimport env proxy_get_current_time_nanoseconds
func getCurrentTime(out unsafe.Pointer) uint32

//go:wasmimport env proxy_http_call
func httpCall(cluster unsafe.Pointer, clusterSize uint32, headers unsafe.Pointer, headersSize uint32, body unsafe.Pointer, bodySize uint32, trailers unsafe.Pointer, trailersSize uint32, timeout int32, token unsafe.Pointer) uint32

var (
	mode     string
	pending  [][]byte // keeps what the host was given alive
	zeroAsks int
)

func say(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	proxyLog(2, unsafe.Pointer(unsafe.StringData(text)), uint32(len(text)))
}

//go:wasmexport proxy_abi_version_0_2_0
func abiVersion() {}

//go:wasmexport proxy_on_memory_allocate
func allocate(size uint32) unsafe.Pointer {
	switch {
	case size == 0:
		zeroAsks++
		return nil
	case mode == "alloc-log":
		say("allocating")
	case mode == "alloc-time":
		var now uint64
		getCurrentTime(unsafe.Pointer(&now))
	case mode == "alloc-null":
		return nil
	}
	buf := make([]byte, size)
	pending = append(pending[max(0, len(pending)-3):], buf)
	return unsafe.Pointer(&buf[0])
}

//go:wasmexport proxy_on_context_create
func contextCreate(id, root uint32) { say("create %d %d", id, root) }

//go:wasmexport proxy_on_vm_start
func vmStart(_, size uint32) uint32 { return 1 }

//go:wasmexport proxy_on_configure
func configure(_, size uint32) uint32 {
	mode = string(buffer(7, 0, size))
	if mode == "alloc-null" || mode == "alloc-time" || mode == "alloc-log" {
		say("mode %s", mode)
	}
	return 1
}

func buffer(kind, start, length uint32) []byte {
	var data *byte
	var size uint32
	getBufferBytes(kind, start, length, unsafe.Pointer(&data), unsafe.Pointer(&size))
	if data == nil {
		return nil
	}
	return unsafe.Slice(data, size)
}

//go:wasmexport proxy_on_request_headers
func requestHeaders(id, count, end uint32) uint32 {
	switch mode {
	case "pairs", "alloc-log", "alloc-time", "alloc-null":
		sayPairs(count)
	case "maps":
		sayMaps()
	case "buffers":
		sayBuffers()
	case "metrics":
		sayMetrics()
	case "context":
		say("effective root %d none %d unknown %d", setEffectiveContext(1), setEffectiveContext(0), setEffectiveContext(9999))
	case "local":
		text := "details here"
		sendLocalResponse(204, unsafe.Pointer(unsafe.StringData(text)), uint32(len(text)), nil, 0, nil, 0, -1)
		return 0
	case "continue":
		say("done %d", proxyDone())
		say("continue %d response %d", continueStream(0), continueStream(1))
		say("TCP %d %d unknown %d", continueStream(2), continueStream(3), continueStream(4))
	case "close":
		say("close TCP %d %d unknown %d", closeStream(2), closeStream(3), closeStream(4))
		say("close %d", closeStream(0))
		return 1
	case "action-2":
		return 2
	case "action-9":
		return 9
	case "token":
		say("bad cell %d", callInto(unsafe.Add(nil, 0xfffffff0)))
		token := uint32(77)
		cluster = "nowhere"
		say("refused %d token %d", callInto(unsafe.Pointer(&token)), token)
	case "call":
		return startCall()
	case "negative":
		say("negative timeout %d", call(-1))
	}
	return 0
}

func sayPairs(count uint32) {
	var data *byte
	var size uint32
	st := getPairs(0, unsafe.Pointer(&data), unsafe.Pointer(&size))
	say("pairs %d count %d bytes %s", st, count, hex.EncodeToString(unsafe.Slice(data, size)))
}

func sayMaps() {
	var size uint32
	key := []byte("x-empty")
	data, length := new(byte), uint32(77)
	say("size %d of type 8: %d", getMapSize(0, unsafe.Pointer(&size)), getMapSize(8, unsafe.Pointer(&size)))
	say("bytes %d", size)
	st := getValue(0, unsafe.Pointer(&key[0]), uint32(len(key)), unsafe.Pointer(&data), unsafe.Pointer(&length))
	say("empty value %d nil %v length %d", st, data == nil, length)
	st = getPairs(2, unsafe.Pointer(&data), unsafe.Pointer(&length))
	say("absent map %d nil %v length %d", st, data == nil, length)
	say("out of memory %d", getPairs(0, unsafe.Add(nil, 0xfffffff0), unsafe.Pointer(&length)))
}

func sayBuffers() {
	var data *byte
	size, flags := uint32(77), uint32(77)
	say("body %d size %d", getBufferBytes(0, 0, 10, unsafe.Pointer(&data), unsafe.Pointer(&size)), size)
	say("unknown %d", getBufferBytes(9, 0, 10, unsafe.Pointer(&data), unsafe.Pointer(&size)))
	say("no call %d", getBufferBytes(4, 0, 10, unsafe.Pointer(&data), unsafe.Pointer(&size)))
	say("plugin configuration %d", getBufferBytes(7, 0, 10, unsafe.Pointer(&data), unsafe.Pointer(&size)))
	st := getBufferStatus(6, unsafe.Pointer(&size), unsafe.Pointer(&flags))
	say("vm configuration status %d size %d flags %d", st, size, flags)
	say("slice %s", buffer(6, 2, 3))
	say("zero asks %d", zeroAsks)
}

func define(kind uint32) (uint32, uint32) {
	name := []byte("raw.metric")
	var id uint32
	st := defineMetric(kind, unsafe.Pointer(&name[0]), uint32(len(name)), unsafe.Pointer(&id))
	return st, id
}

func sayMetrics() {
	var value uint64
	_, counter := define(0)
	_, gauge := define(1)
	_, histogram := define(2)
	unknown, _ := define(3)
	say("define unknown kind %d", unknown)
	say("counter %d %d %d", incrementMetric(counter, 2), incrementMetric(counter, 0), incrementMetric(counter, -1))
	say("gauge %d", incrementMetric(gauge, -3))
	say("histogram %d %d", incrementMetric(histogram, 1), getMetric(histogram, unsafe.Pointer(&value)))
	say("unknown %d %d", incrementMetric(counter+400, 1), recordMetric(counter+400, 1))
	st := getMetric(counter, unsafe.Pointer(&value))
	say("value %d %d", st, value)
}

var cluster = "control"

func call(timeout int32) uint32 {
	var token uint32
	return send(timeout, unsafe.Pointer(&token))
}

func callInto(token unsafe.Pointer) uint32 { return send(0, token) }

func send(timeout int32, token unsafe.Pointer) uint32 {
	headers := serialise([][2]string{{":method", "GET"}, {":path", "/"}, {":authority", "a"}})
	return httpCall(unsafe.Pointer(unsafe.StringData(cluster)), uint32(len(cluster)), unsafe.Pointer(&headers[0]), uint32(len(headers)), nil, 0, nil, 0, timeout, token)
}

func serialise(pairs [][2]string) []byte {
	u32 := func(n int) []byte { return []byte{byte(n), byte(n >> 8), byte(n >> 16), byte(n >> 24)} }
	out := u32(len(pairs))
	for _, p := range pairs {
		out = append(append(out, u32(len(p[0]))...), u32(len(p[1]))...)
	}
	for _, p := range pairs {
		out = append(out, p[0]+"\x00"+p[1]+"\x00"...)
	}
	return out
}

func startCall() uint32 {
	say("call %d", call(0))
	return 1
}

//go:wasmexport proxy_on_http_call_response
func httpCallResponse(root, token, headers, body, trailers uint32) {
	var code uint32
	var data *byte
	var size uint32
	st := getStatus(unsafe.Pointer(&code), unsafe.Pointer(&data), unsafe.Pointer(&size))
	message := ""
	if data != nil {
		message = string(unsafe.Slice(data, size))
	}
	say("answer root %d headers %d body %d trailers %d status %d %d %s", root, headers, body, trailers, st, code, message)
	key := []byte(":status")
	status := getValue(6, unsafe.Pointer(&key[0]), uint32(len(key)), unsafe.Pointer(&data), unsafe.Pointer(&size))
	trailer := getValue(7, unsafe.Pointer(&key[0]), uint32(len(key)), unsafe.Pointer(&data), unsafe.Pointer(&size))
	say("map %d trailers %d body %d", status, trailer, getBufferBytes(4, 0, 10, unsafe.Pointer(&data), unsafe.Pointer(&size)))
	setEffectiveContext(2)
	continueStream(0)
}

//go:wasmexport proxy_on_request_body
func requestBody(id, size, end uint32) uint32 {
	switch mode {
	case "body-3":
		return 3
	case "set-buffer":
		saySetBuffer()
	}
	return 0
}

// saySetBuffer changes a body of "abcdef" in every way there is.
func saySetBuffer() {
	set := func(start, length uint32, text string) {
		st := setBufferBytes(0, start, length, unsafe.Pointer(unsafe.StringData(text)), uint32(len(text)))
		say("set %d+%d %q: %d %s", start, length, text, st, buffer(0, 0, 100))
	}
	set(0, 2, "AB")
	set(0, 0, "<")
	set(7, 0, ">")
	set(100, 5, "!")
	set(3, 1, "middle")
	set(0, 1, "")
	set(0, 100, "new")
	say("out of memory %d", setBufferBytes(0, 0, 0, unsafe.Add(nil, 0xfffffff0), 100))
	say("configuration %d call %d unknown %d", setBufferBytes(6, 0, 0, nil, 0), setBufferBytes(4, 0, 0, nil, 0), setBufferBytes(9, 0, 0, nil, 0))
}

//go:wasmexport proxy_on_done
func done(id uint32) uint32 {
	say("done %d", id)
	if mode == "done-later" && id == 1 {
		return 0
	}
	return 1
}

//go:wasmexport proxy_on_log
func onLog(id uint32) { say("log %d", id) }

//go:wasmexport proxy_on_delete
func onDelete(id uint32) { say("delete %d", id) }
