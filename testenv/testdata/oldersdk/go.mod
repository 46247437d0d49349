// This module stands in for the older SDK under that SDK's path, and is the main module of the builds of
// thirdparty_test.go: the import paths of their sources lead here. go.sum also holds the sums of the older SDK itself,
// whose examples are built; go mod tidy would not keep them.
module github.com/tetratelabs/proxy-wasm-go-sdk

go 1.26.0

require (
	github.com/corazawaf/coraza-proxy-wasm v0.0.0-20260824140537-b1770f5b0be3
	github.com/proxy-wasm/proxy-wasm-go-sdk v0.0.0-20250212164326-ab4161dcf924
)
