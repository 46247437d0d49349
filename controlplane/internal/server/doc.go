// Package server is the control plane's HTTP surface: the admin REST API, the gate endpoints that filters call,
// and the operators' health and metrics pages. It owns authentication by token, the strict reading of requests
// and the shape of every error. It is the only package that knows gin and huma.
//
// It refuses to hold rules: what money may do is decided by package ledger, what is kept by package store.
// No secret passes through it into a log, an error or a second reply.
package server
