package testenv

import (
	"maps"
	"sync"
)

// SharedData is the key-value store that the VMs of one vm_id share. It is safe for concurrent use.
type SharedData struct {
	mu      sync.Mutex
	byKey   map[sharedKey]sharedValue
	lastCAS uint32
}

type sharedKey struct{ vmID, key string }

type sharedValue struct {
	data string
	cas  uint32
}

// NewSharedData returns an empty store.
func NewSharedData() *SharedData { return &SharedData{byKey: map[sharedKey]sharedValue{}} }

// Len returns the number of keys that the VMs of vmID have set.
func (d *SharedData) Len(vmID string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := 0
	for k := range d.byKey {
		if k.vmID == vmID {
			n++
		}
	}
	return n
}

// Value returns what the VMs of vmID share under key, and whether they set it.
func (d *SharedData) Value(vmID, key string) (string, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	v, ok := d.byKey[sharedKey{vmID, key}]
	return v.data, ok
}

// deleteVMID forgets what the VMs of vmID share (shared_data.cc deleteByVmId).
func (d *SharedData) deleteVMID(vmID string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	maps.DeleteFunc(d.byKey, func(k sharedKey, _ sharedValue) bool { return k.vmID == vmID })
}

func (d *SharedData) get(vmID, key string) (string, uint32, status) {
	d.mu.Lock()
	defer d.mu.Unlock()
	v, ok := d.byKey[sharedKey{vmID, key}]
	if !ok {
		return "", 0, statusNotFound
	}
	return v.data, v.cas, statusOK
}

// set stores data. A cas of 0 always writes, and so does any cas on an absent key: Envoy looks at
// the cas of existing keys alone.
func (d *SharedData) set(vmID, key, data string, cas uint32) status {
	d.mu.Lock()
	defer d.mu.Unlock()
	k := sharedKey{vmID, key}
	if v, ok := d.byKey[k]; ok && cas != 0 && cas != v.cas {
		return statusCASMismatch
	}
	d.lastCAS++
	if d.lastCAS == 0 {
		d.lastCAS = 1
	}
	d.byKey[k] = sharedValue{data: data, cas: d.lastCAS}
	return statusOK
}
