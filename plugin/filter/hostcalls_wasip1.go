package filter

import "unsafe"

//go:wasmimport env proxy_get_header_map_pairs
//go:noescape
func hostHeaderPairs(mapType int32, data unsafe.Pointer, size *int32) int32

//go:wasmimport env proxy_get_header_map_value
//go:noescape
func hostHeaderValue(mapType int32, name *byte, nameSize int32, data unsafe.Pointer, size *int32) int32

//go:wasmimport env proxy_get_property
//go:noescape
func hostProperty(path *byte, pathSize int32, data unsafe.Pointer, size *int32) int32

//go:wasmimport env proxy_set_property
//go:noescape
func hostSetProperty(path *byte, pathSize int32, value *byte, valueSize int32) int32

//go:wasmimport env proxy_add_header_map_value
//go:noescape
func hostAddHeader(mapType int32, name *byte, nameSize int32, value *byte, valueSize int32) int32

//go:wasmimport env proxy_remove_header_map_value
//go:noescape
func hostRemoveHeader(mapType int32, name *byte, nameSize int32) int32

//go:wasmimport env proxy_increment_metric
//go:noescape
func hostIncrementMetric(id int32, offset int64) int32

//go:wasmimport wasi_snapshot_preview1 clock_time_get
//go:noescape
func hostClock(id int32, precision int64, out *uint64) int32
