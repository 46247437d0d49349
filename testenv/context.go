package testenv

import (
	"slices"
	"strconv"
)

// direction is the way of a request or of a response through the chain.
type direction int

const (
	toUpstream direction = iota
	toClient
)

// part is a kind of piece that a message consists of.
type part int

const (
	partNone part = iota
	partHeaders
	partBody
	partTrailers
)

// piece is one part of a message on its way: headers or trailers, or a chunk of the body.
type piece struct {
	part    part
	headers []Header
	// fresh is headers as a map that no filter has seen, made where they entered the chain; the first filter takes it over.
	fresh *headerMap
	body  []byte
	end   bool // nothing follows
}

// side is one direction of a stream inside one filter.
type side struct {
	headers, trailers *headerMap // as the filter left them
	body              []byte     // what the filter sees
	kept              []byte     // what waits before body and the filter sees no more
	buffering         bool       // the next chunk is added to body
	ended             bool

	// Whether hostcalls reach the maps and the body: Envoy drops its pointers when it goes on.
	headersOpen, bodyOpen, trailersOpen bool

	// stopped is the last part that the filter keeps back. With all it gets to see nothing more until it continues: what
	// follows waits in inbox. Without, it sees each chunk of the body.
	stopped part
	all     bool
	inbox   []piece
	// limited lets inbox count against the limit; otherwise a full buffer makes Envoy read no further.
	limited bool
	// headersHeld says that the headers have not gone on. Only a filter that may stop on headers alone gets to see more.
	headersHeld bool
}

// blocked says whether pieces have to wait before the filter.
func (x *httpContext) blocked(dir direction) bool {
	sd := &x.sides[dir]
	return sd.stopped != partNone && sd.all
}

// take adds a piece to what waits before the filter.
func (x *httpContext) take(dir direction, in piece) {
	sd := &x.sides[dir]
	sd.inbox = append(sd.inbox, in)
	if !sd.limited || !x.blocked(dir) {
		return
	}
	size := 0
	for _, p := range sd.inbox {
		size += len(p.body)
	}
	x.stream.overflows(dir, size)
}

// httpContext is one stream inside one plugin: what the ABI calls an HTTP context.
type httpContext struct {
	vm     *wasmVM
	plugin *pluginContext
	id     uint32
	name   string // String's result once it was asked for
	stream *chain

	sides   [2]side // by direction
	created bool
	logging bool
	failed  bool // the VM died, and the stream was answered for it
}

func (x *httpContext) request() *side  { return &x.sides[toUpstream] }
func (x *httpContext) response() *side { return &x.sides[toClient] }

// create tells the guest of the stream, once. Envoy does it with the first headers, or for the access log of a stream
// that never had any.
func (x *httpContext) create() {
	if !x.created {
		x.created = true
		x.vm.call(onContextCreate, x.id, uint64(x.plugin.id))
	}
}

// stepCallbacks are the callbacks of each part, by direction.
var stepCallbacks = [2]map[part]callback{
	toUpstream: {partHeaders: onRequestHeaders, partBody: onRequestBody, partTrailers: onRequestTrailers},
	toClient:   {partHeaders: onResponseHeaders, partBody: onResponseBody, partTrailers: onResponseTrailers},
}

// step gives one piece to the filter and returns what it lets through.
func (x *httpContext) step(dir direction, in piece) []piece {
	if dir == toClient && !x.created {
		// A local response reaches filters that never saw the request; they are left out.
		return []piece{in}
	}
	if x.vm.dead != nil {
		return x.deadStep(dir, in)
	}
	switch in.part {
	case partHeaders:
		return x.headersStep(dir, in)
	case partBody:
		return x.bodyStep(dir, in)
	default:
		return x.trailersStep(dir, in)
	}
}

// deadStep is what becomes of a piece that comes to a dead filter. The 503 for its death passes it, or from releases on
// which TrapAnswers is not set, stops there for good.
func (x *httpContext) deadStep(dir direction, in piece) []piece {
	x.created = true
	if dir == toClient && x.failed {
		if x.vm.w.opts.Profile.TrapAnswers {
			return []piece{in}
		}
		x.sides[dir].stopped, x.sides[dir].all = partHeaders, true
		x.vm.w.mayStick = true
		return nil
	}
	x.fail()
	return nil
}

// fail answers the stream in the place of the dead filter (context.cc failStream).
func (x *httpContext) fail() {
	if x.failed {
		return
	}
	x.failed = true
	x.stream.answer(&LocalResponse{Status: 503, Details: "wasm_fail_stream", GRPCStatus: 14})
}

func (x *httpContext) headersStep(dir direction, in piece) []piece {
	sd := &x.sides[dir]
	x.create()
	sd.ended = in.end
	sd.headers, sd.headersOpen = in.fresh, true
	if sd.headers == nil {
		sd.headers = newHeaderMap(in.headers, x.vm.w.opts.InlineHeaders)
	}
	x.stream.latest[dir].headers = sd.headers
	action := x.vm.call(stepCallbacks[dir][partHeaders], x.id, uint64(len(sd.headers.pairs)), flag(in.end))
	sd.headersHeld = true
	if action != headersContinue && action != headersContinueEnd {
		sd.stopped, x.vm.w.mayStick = partHeaders, true
		sd.all = action != headersStop || !x.plugin.AllowOnHeadersStopIteration
		sd.limited = action == headersStopAndBuffer
		return nil
	}
	return x.release(dir, partHeaders)
}

// bodyStep shows the filter one chunk, or after it chose to buffer the body so far (context.cc decodeData).
func (x *httpContext) bodyStep(dir direction, in piece) []piece {
	sd := &x.sides[dir]
	sd.ended, sd.bodyOpen = in.end, true
	buffered := sd.buffering
	if buffered {
		sd.body = append(sd.body, in.body...)
		if x.stream.overflows(dir, sd.size()) {
			return nil
		}
	} else {
		sd.kept, sd.body = append(sd.kept, sd.body...), slices.Clone(in.body)
	}
	action := x.vm.call(stepCallbacks[dir][partBody], x.id, uint64(len(sd.body)), flag(in.end))
	if action == dataContinue {
		return x.release(dir, partBody)
	}
	sd.stopped, sd.all, sd.buffering = partBody, false, action == dataStopAndBuffer
	x.vm.w.mayStick = true
	switch {
	case sd.buffering:
		x.stream.overflows(dir, sd.size())
	case action == dataStopAndWait:
		sd.all = sd.size() > x.stream.opts.MaxBufferBytes
	case !buffered:
		sd.body = nil
	}
	return nil
}

func (x *httpContext) trailersStep(dir direction, in piece) []piece {
	sd := &x.sides[dir]
	sd.ended = true
	sd.trailers, sd.trailersOpen = newHeaderMap(in.headers, x.vm.w.opts.InlineHeaders), true
	x.stream.latest[dir].trailers = sd.trailers
	if x.vm.call(stepCallbacks[dir][partTrailers], x.id, uint64(len(sd.trailers.pairs))) != headersContinue {
		sd.stopped, sd.all = partTrailers, true
		x.vm.w.mayStick = true
		return nil
	}
	return x.release(dir, partTrailers)
}

// release closes what the filter has seen up to the given part, and returns what of it has not gone on: with trailers
// also the body that the filter had been buffering.
func (x *httpContext) release(dir direction, of part) []piece {
	if !x.stream.flowing(dir) {
		return nil
	}
	sd := &x.sides[dir]
	sd.stopped, sd.all, sd.limited, sd.buffering = partNone, false, false, false
	var out []piece
	if sd.headersHeld {
		sd.headersHeld, sd.headersOpen = false, false
		out = append(out, piece{part: partHeaders, headers: slices.Clone(sd.headers.pairs), end: of == partHeaders && sd.ended})
	}
	if sd.trailers == nil {
		if of == partBody || sd.size() > 0 {
			out = append(out, sd.takeBody(sd.ended)...)
		}
		return out
	}
	out = append(out, sd.takeBody(false)...)
	sd.trailersOpen = false
	return append(out, piece{part: partTrailers, headers: slices.Clone(sd.trailers.pairs), end: true})
}

// size is how much of the body waits at the filter.
func (sd *side) size() int { return len(sd.kept) + len(sd.body) }

// takeBody hands out what was buffered or passed; nothing for an empty piece that does not end the message.
func (sd *side) takeBody(end bool) []piece {
	body := slices.Concat(sd.kept, sd.body)
	sd.kept, sd.body, sd.bodyOpen = nil, nil, false
	if len(body) == 0 && !end {
		return nil
	}
	return []piece{{part: partBody, body: body, end: end}}
}

// resume is what continue_stream amounts to once the guest has returned: it is nothing for a direction that is not
// stopped.
func (x *httpContext) resume(dir direction) {
	stopped := x.sides[dir].stopped
	if stopped == partNone || !x.stream.flowing(dir) {
		return
	}
	x.stream.forward(dir, x, x.release(dir, stopped))
	x.stream.pump(dir, x)
}

// log is the access log phase: every context of the stream comes to it before any is done.
func (x *httpContext) log() {
	x.create()
	x.logging = true
	x.vm.call(onLog, x.id)
	x.logging = false
}

// done ends the context.
func (x *httpContext) done() {
	x.vm.call(onDone, x.id)
	x.vm.call(onDelete, x.id)
	delete(x.vm.contexts, x.id)
}

// makeTrailers returns new trailers for a message without any, as long as the filter has the end of its body before it;
// else nil (context.cc getMap).
func (x *httpContext) makeTrailers(dir direction) *headerMap {
	sd := &x.sides[dir]
	if !sd.bodyOpen || !sd.ended || sd.trailers != nil {
		return nil
	}
	sd.trailers, sd.trailersOpen = &headerMap{}, true
	x.stream.latest[dir].trailers = sd.trailers
	return sd.trailers
}

// String is the plugin's name and the context's id. Traces ask for it with every hostcall.
func (x *httpContext) String() string {
	if x.name == "" {
		x.name = x.plugin.label() + "#" + strconv.FormatUint(uint64(x.id), 10)
	}
	return x.name
}

func flag(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}
