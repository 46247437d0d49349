package filter

import (
	"slices"
	"unsafe"

	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"

	"github.com/tollgate/tollgate/plugin/access"
)

// The few hostcalls of a hot request are this package's own: the SDK's allocate their out-variables, and copy. Out-
// variables are at package level, because the host writes to them while the guest's stack may move.
var (
	outData *byte
	outSize int32
	outTime uint64
)

// Map types and the status of the ABI (proxy-wasm/spec, abi-versions/v0.2.1).
const (
	requestHeadersMap  int32 = 0
	responseHeadersMap int32 = 2

	statusOK int32 = 0
)

// Clock ids of WASI preview 1.
const (
	wallClock int32 = 0
	monoClock int32 = 1
)

// now reads both clocks. A clock that cannot be read stands still at 0, and no lease is good at a time before it came.
func now() access.Instant {
	return access.Instant{Mono: clock(monoClock), Wall: clock(wallClock)}
}

func clock(id int32) int64 {
	if hostClock(id, 1, &outTime) != 0 {
		return 0
	}
	return int64(outTime)
}

// taken is what the host has left in the out-variables, as a string over the buffer that it allocated. In a callback for
// headers it is good until that returns: the memory is then lent to the host again (plugin/internal/overlay/sdk).
func taken() string {
	if outData == nil || outSize <= 0 {
		return ""
	}
	s := unsafe.String(outData, int(outSize))
	outData = nil
	return s
}

// requestHeaders reads all request headers into dst's memory. They are strings over the host's one buffer. It is false if the
// host has none, or something that is no list of headers.
func requestHeaders(dst [][2]string) ([][2]string, bool) {
	outData, outSize = nil, 0
	if hostHeaderPairs(requestHeadersMap, unsafe.Pointer(&outData), &outSize) != statusOK {
		return dst, false
	}
	return parsePairs(dst, taken())
}

// parsePairs reads a list of pairs into dst's memory, as the ABI has it: their number, for each the lengths of name and value, all in 32 bits,
// little-endian, and then for each the two texts, ended by a zero each.
func parsePairs(dst [][2]string, raw string) ([][2]string, bool) {
	if len(raw) < 4 {
		return dst, false
	}
	start := unsafe.Pointer(unsafe.StringData(raw))
	n := int(*(*uint32)(start))
	if n > (len(raw)-4)/8 {
		return dst, false
	}
	dst = slices.Grow(dst, n)[:n]
	for i, at := 0, 4+8*n; i < n; i++ {
		// The lengths lie within raw, because n of them do, and the texts do by the test that follows.
		lengths := (*[2]uint32)(unsafe.Add(start, 4+8*i))
		name, value := int(lengths[0]), int(lengths[1])
		if end := len(raw) - at; name > end || value > end || name+value+2 > end {
			return dst[:i], false
		}
		pair, text := (*[2]piece)(unsafe.Pointer(&dst[i])), unsafe.Add(start, at)
		pair[0], pair[1] = piece{text, name}, piece{unsafe.Add(text, name+1), value}
		at += name + value + 2
	}
	return dst, true
}

// piece is a string as Go lays it out. To make one with unsafe.String checks anew what parsePairs has checked.
type piece struct {
	data unsafe.Pointer
	size int
}

// responseHeader returns the first value of a response header, empty if there is none; requestHeader that of a request
// header.
func responseHeader(name string) string { return header(responseHeadersMap, name) }

func requestHeader(name string) string { return header(requestHeadersMap, name) }

func header(of int32, name string) string {
	outData, outSize = nil, 0
	if hostHeaderValue(of, unsafe.StringData(name), int32(len(name)), unsafe.Pointer(&outData), &outSize) != statusOK {
		return ""
	}
	return taken()
}

// property returns a property, whose path has a zero between its segments; empty if there is none.
func property(path string) string {
	outData, outSize = nil, 0
	if hostProperty(unsafe.StringData(path), int32(len(path)), unsafe.Pointer(&outData), &outSize) != statusOK {
		return ""
	}
	return taken()
}

// setProperty sets a property to a value that is not empty.
func setProperty(path string, value []byte) bool {
	return hostSetProperty(unsafe.StringData(path), int32(len(path)), &value[0], int32(len(value))) == statusOK
}

// addRequestHeader appends a request header.
func addRequestHeader(name, value string) bool {
	return hostAddHeader(requestHeadersMap, unsafe.StringData(name), int32(len(name)), unsafe.StringData(value),
		int32(len(value))) == statusOK || editFailed("add", name)
}

// removeRequestHeader removes every value of a request header.
func removeRequestHeader(name string) bool {
	return hostRemoveHeader(requestHeadersMap, unsafe.StringData(name), int32(len(name))) == statusOK || editFailed("remove", name)
}

// editFailed logs what the host refused, and is false.
func editFailed(what, name string) bool {
	proxywasm.LogError("tollgate: " + what + " request header " + name + ": the host refused")
	return false
}

// counter is a metric that counts up. It is the SDK's but that it ends no VM over a metric that the host does not count.
type counter uint32

func defineCounter(name string) counter { return counter(proxywasm.DefineCounterMetric(name)) }

// Increment adds n, more than 0.
func (c counter) Increment(n uint64) { hostIncrementMetric(int32(c), int64(n)) }
