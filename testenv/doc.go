// Package testenv runs compiled proxy-wasm HTTP filters (ABI 0.2.0 and 0.2.1) inside this process,
// under wazero, and behaves as Envoy 1.33 does wherever a filter can tell.
//
// It owns the host side of the ABI: VMs and streams, hostcalls, the WASI functions of Envoy and no
// others, callouts, metrics, shared data, properties and local responses. It knows nothing of what
// a filter is for, and imports wazero and the standard library alone. It refuses modules that Envoy
// would not load. What a filter may not do ends its VM (ErrTrap), as in Envoy, or is reported as a
// fault where Envoy would hang or this host lacks the call. TCP filters, gRPC callouts, shared
// queues, metadata maps, foreign functions and dynamic route changes are not here.
//
// There are two ways in. Tests use New and Host.Do: a whole request through the filter to an
// upstream handler, with callouts answered by handlers, and the test failed by itself for traps,
// paused streams that nothing can resume, missing hostcalls and streams left open. Programs use
// Compile, Filter.NewVM and the steps of Stream, and turn the VM's tick themselves.
//
// # Habits of Envoy
//
// "context.cc" is source/extensions/common/wasm/context.cc of Envoy; the other files are of
// proxy-wasm-cpp-host.
//
//	habit                                                              source
//	get_header_map_value: first value of a repeated header; absent:    context.cc getHeaderMapValue
//	  NotFound; map not there: BadArgument
//	get_header_map_pairs: every pair in order; map not there: OK and   context.cc getHeaderMapPairs;
//	  no bytes                                                           exports.cc getPairs
//	replace_header_map_value removes every value, then appends one     header_map_impl.cc setCopy
//	headers, body and trailers close to the filter once their step     context.cc decodeHeaders,
//	  passed; continue_stream closes the request's at once              decodeData, continueStream
//	the access log phase reads headers again, and changes nothing      context.cc log, getConstMap
//	malformed or oversized pairs from a filter are an empty map        pairs_util.cc, limits.h
//	get_buffer_bytes with nothing to read: OK, nothing stored          exports.cc get_buffer_bytes
//	set_buffer_bytes replaces a prefix or appends; else BadArgument    context.cc Buffer::copyFrom
//	plugin configuration readable while configuring alone              context.cc getBuffer
//	stop on headers stops the body too; an unknown action is a stop    context.cc (cpp-host)
//	                                                                     convertVmCallResult…
//	a buffering filter sees the body so far with each chunk; over the  context.cc decodeData
//	  limit: 413, response reset
//	send_local_response waits for the guest to return, stops the step  exports.cc send_local_response;
//	  whatever it returned, is nothing on the root context               context.cc sendLocalResponse
//	local responses pass the filter's own response path while the      filter_manager.cc
//	  upstream is silent, skip it after, reset once headers left         sendLocalReply
//	local responses get length and type; without body they lose both;  http/utility.cc
//	  gRPC requests get 200, grpc-status and an escaped grpc-message     prepareLocalReply
//	gRPC is application/grpc or application/grpc+…, as the client      grpc/common.cc
//	  sent it                                                            hasGrpcContentType
//	a second local response hangs (here: fault, the first stands)      envoy issue 28826
//	http_call: cluster, :method, :path, :authority or BadArgument; no  context.cc httpCall
//	  host: InternalFailure; content-length set for a body
//	callbacks come on the root context, after the stream too           exports.cc http_call;
//	                                                                     context.cc onHttpCallSuccess
//	callout timeout: 504 of the router; connection failure: 503;       router.cc;
//	  reset or too large an answer: no headers, status 11 "reset"        context.cc onHttpCallFailure
//	the end of a plugin cancels callouts without callbacks             context.cc ~Context
//	stream end: log, done, delete; a stream without headers is         conn_manager_impl.cc
//	  created for its log                                                doDeferredStreamDestroy;
//	                                                                     context.cc log
//	allocation may log, write and read the clock, nothing else;        wasm.h allocMemory,
//	  it is never asked for 0 bytes                                      copyToPointerSize
//	start-up may not call the proxy (here: all of WASI and the log)    wasm.cc startVm
//	a trap answers 503 on every stream, now and later                  context.cc (cpp-host)
//	                                                                     CHECK_FAIL; context.cc
//	                                                                     failStream
//	poll_oneoff: ENOSYS                                                exports.cc until 94091cd
//	clocks 0 and 1; other ids ENOTSUP                                  exports.cc clock_time_get
//	counters only go up by increment; a histogram cannot be read       context.cc incrementMetric,
//	                                                                     getMetric
//	set_shared_data ignores the cas of an absent key                   shared_data.cc
//	set_property stores filter state "wasm." + name; on the root       context.cc setProperty
//	  context NotFound
//
// proc_exit ends the VM at once; cpp-host returns from it and Go's runtime then traps. A trap with
// several streams paused answers them at once; Envoy answers each at its next event, and 1.33
// leaves some hanging.
package testenv
