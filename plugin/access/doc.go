// Package access decides. It owns the filter's configuration, the reading of credential headers, the leases that a VM
// holds, and with them the verdict on one request: let it pass, refuse it, or ask the control plane. It knows no proxy,
// makes no hostcall and reads no clock; the filter package carries out what it says. What it keeps between requests is in
// Leases and Usage, of which each VM has its own.
//
// # Why the whole header list?
//
// Envoy's single-header lookup returns the first of several values (source/extensions/common/wasm/context.cc,
// getHeaderMapValue), and repeated values may also arrive joined by commas. A filter that looks up one header
// can therefore be shown one credential while the upstream sees another. Check is given the whole list, which the
// filter reads from the host once, and refuses every request that offers more than one credential.
//
// # Why is the order fixed?
//
// Structure (400) comes before syntax (401), and both before the callout, so that a request which cannot be
// right costs nothing. What a denial tells grows with what the client has proven: account and credit are
// spoken of only once the full secret has been verified by the control plane.
package access
