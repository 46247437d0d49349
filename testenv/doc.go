// Package testenv runs compiled proxy-wasm HTTP filters (ABI 0.2.0 and 0.2.1) inside this process, under wazero, and
// behaves as Envoy does wherever a filter can tell.
//
// It owns the host side of the ABI: VMs, plugins and streams, hostcalls, Envoy's WASI functions and no others, callouts,
// metrics, shared data and queues, properties, local responses, filter chains, traps and reloads. It knows nothing of what
// a filter is for, and imports wazero and the standard library alone. It refuses modules that Envoy would not load. TCP
// filters, gRPC callouts, foreign functions, dynamic metadata and route changes are not here: their hostcalls answer
// Unimplemented and are faults.
//
// There are two ways in.
//
// Tests use a [Host]: N worker threads with a VM each, a filter chain, clusters and an upstream, all in virtual time. New
// starts it, Host.Do sends a request, Host.Check and Host.Run compare what comes of requests with a [Want]. Time moves when
// the test moves it, or as far as a request needs. What chance decides is decided by Options.Seed: the same seed and the
// same calls give the same run, byte for byte, hostcall by hostcall. Callouts go to handlers, to real addresses or by a
// [Script] that delays, loses, cuts and repeats them. The Host fails the test by itself for traps, streams that nothing
// resumes, missing hostcalls and streams left open, and prints the last hostcalls when a test fails. GUIDE.md beside this
// file shows how to test a filter of your own in ten minutes.
//
// Programs use a [Worker], one thread's VMs and filter chain, and the blocking steps of its streams, in real time.
//
// # Habits of Envoy
//
// A [Profile] chooses between releases. "context.cc" and "wasm.cc" are of Envoy's source/extensions/common/wasm, "host" is
// proxy-wasm-cpp-host, "notes" are Envoy's changelogs; a number is an issue or pull request. Where two answers stand, the
// first is envoy-1.33's (and strict's), the second envoy-1.40's.
//
//	habit                                                               source
//
//	start-up and WASI
//	poll_oneoff: ENOSYS | success, no event                             host c4d7bb0 | 94091cd
//	18 WASI functions | all of preview 1 but proc_raise, most of them   host exports.h | #533
//	  only answering ENOTSUP or BADF
//	in _initialize, main and _start a guest may call 12 functions |     host wasm.cc startVm | #533
//	  all of WASI and the log; in its allocator the log, fd_write and     host wasm.h allocMemory | #433,
//	  clock_time_get | poll_oneoff and the notice of growth too           #461
//	any other call there ends the VM                                    host #306
//	the allocator is never asked for 0 bytes                            host exports.cc copyToPointerSize
//	clocks 0 and 1, other ids ENOTSUP; random_get up to 64 KiB          host exports.cc
//	main is called after _initialize where it is exported               host wasm.cc startVm
//
//	VMs and threads
//	plugins that agree in vm_id, code and VM configuration share a VM,  host makeVmKey; notes 1.39
//	  whatever their environment | if that agrees too
//	a canary VM for each plugin first: started, configured, killed      host wasm.cc createWasm, canary
//	  without proxy_on_done; its shared data and metrics stay
//	the main thread's VMs tick and serve no streams                     thread_local_impl.cc; wasm.cc
//	a tick comes a period after the last one ended, on every thread     wasm.cc tickHandler
//	shared data and queues live as long as a plugin of their vm_id      host vm_id_handle.cc
//	set_shared_data ignores the cas of an absent key                    host shared_data.cc
//	of several VMs that register a queue only the last hears of it,     host shared_queue.cc
//	  once for each value, later, on its thread
//
//	traps
//	a trap in a request's step: that stream and those that come to the  context.cc failStream, host
//	  dead VM never get an answer | 503, details wasm_fail_stream         CHECK_FAIL; 38801 | 40166
//	a trap in a response's step: 503 past the filters, or a reset       context.cc failStream
//	a trap elsewhere: paused streams hear nothing                       context.cc onHttpCallResponse
//	FAIL_CLOSED by default; FAIL_OPEN leaves the filter out of later    wasm.proto; wasm_test.cc
//	  streams, not of the one that died                                   PluginConfigTest
//	FAIL_RELOAD: with the next stream, 1 to 1.5 backoffs after the last wasm.cc
//	  start; shared data, queues and metrics survive, contexts, timers    maybeReloadHandleIfNeeded
//	  and callouts do not; counted in wasm.<plugin>.vm_reload_success,
//	  _failure and _backoff
//
//	headers and bodies
//	get_header_map_value: first value of a repeated header; absent:     context.cc getHeaderMapValue
//	  NotFound; map not there: BadArgument; host is :authority
//	get_header_map_pairs: every pair in order; map not there: OK and    context.cc getHeaderMapPairs;
//	  no bytes                                                            host exports.cc getPairs
//	replace_header_map_value removes every value, then appends one      header_map_impl.cc setCopy
//	names are folded to lower case, ASCII letters alone                 LowerCaseString
//	repeats of a header registered as inline arrive comma-joined        header_map_impl.cc
//	headers, body and trailers close to the filter once their step      context.cc decodeHeaders,
//	  passed; continue_stream closes the request's at once                decodeData, continueStream
//	trailers can be added in the step that ends a body                  context.cc getMap
//	the access log phase reads headers again, and changes nothing       context.cc log, getConstMap
//	malformed or oversized pairs from a filter are an empty map         host pairs_util.cc, limits.h
//	get_buffer_bytes with nothing to read: OK, nothing stored           host exports.cc get_buffer_bytes
//	set_buffer_bytes replaces a prefix or appends; else BadArgument     context.cc Buffer::copyFrom
//	plugin configuration readable while configuring alone               context.cc getBuffer
//	stop on headers stops the body too | not for a plugin with          host context.cc
//	  allow_on_headers_stop_iteration; an unknown action is a stop        convertVmCallResult…; notes 1.35
//	a buffering filter sees the body so far with each chunk; over the   context.cc decodeData; #36989
//	  limit: 413, for a response 500 or, once headers left, a reset
//
//	streams
//	a request passes the filters in order, a response in reverse        filter_manager.cc
//	a local response passes every filter that has seen the request,     filter_manager.cc sendLocalReply;
//	  the last first; held upstream headers: past the filters; headers    context.cc encodeHeaders
//	  gone: reset
//	send_local_response waits for the guest to return, stops the step   host exports.cc
//	  whatever it returned, is nothing on the root context                send_local_response
//	a second one in the same request step: the first stands; in its     filter_manager.cc; #36809
//	  own response path: replaces it; later: reset
//	local responses get length and type; without body they lose both;   http/utility.cc
//	  gRPC requests get 200, grpc-status and an escaped grpc-message      prepareLocalReply
//	gRPC is application/grpc or application/grpc+…, as the client       grpc/common.cc
//	  sent it                                                             hasGrpcContentType
//	stream end: log, done, delete; a filter without headers is created  conn_manager_impl.cc
//	  for its log                                                         doDeferredStreamDestroy
//
//	callouts
//	cluster, :method, :path, :authority or BadArgument; no host:        context.cc httpCall
//	  InternalFailure; content-length, x-envoy-internal and               async_client_impl.cc
//	  x-envoy-expected-rq-timeout-ms are added                             sendHeaders
//	callbacks come on the root context, after the stream too            host exports.cc http_call
//	timeout: 504 of the router; connection failure: 503; reset or too   router.cc;
//	  large an answer: no headers, status 11 "reset"                      context.cc onHttpCallFailure
//	the end of a plugin cancels callouts without callbacks              context.cc ~Context
//
//	properties and metrics
//	attributes come before what filters have set; bare route_name,      context.cc getProperty; #36619
//	  cluster_name, node and the like are gone, xds.* has them
//	set_property keeps filter state "wasm." + name, for all filters of  context.cc setProperty
//	  the chain; NotFound on the root context
//	numbers, times and durations are 8 bytes, messages protobuf         context.cc serializeValue
//	metrics are stored as wasmcustom.<name>                             context.cc defineMetric
//	counters only go up by increment; a histogram cannot be read        context.cc incrementMetric,
//	                                                                      getMetric
//
// Known differences: what a filter writes to standard output and error is logged in whole lines, where Envoy logs each write.
// proc_exit ends the VM at once, where the host lets the guest run on and Go's runtime then traps. The
// plugins of a VM start again together, where Envoy starts each with its own next stream. A Worker answers the streams that
// a dead VM holds at once. In virtual time a request whose Play.Delay is longer than the callout's timeout still reaches the
// server, in real time it does not. HTTP requests of clients are not parsed here: what a codec would refuse, a test can send.
package testenv
