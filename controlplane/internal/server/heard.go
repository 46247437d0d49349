package server

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tollgate/tollgate/controlplane/api"
)

// maxHeard bounds how many VMs are remembered, and heardFor is how long one that is not heard of any more.
const (
	maxHeard = 4096
	heardFor = time.Hour
)

// heard remembers which VMs of which gates have sent something since the server began.
type heard struct {
	now func() time.Time

	mu  sync.Mutex
	vms map[vm]time.Time
	// ahead are the gates that have been warned of.
	ahead map[string]bool
}

type vm struct{ gate, boot string }

func newHeard(now func() time.Time) *heard {
	return &heard{now: now, vms: map[vm]time.Time{}, ahead: map[string]bool{}}
}

func (h *heard) note(gate, boot string) {
	now := h.now()
	h.mu.Lock()
	defer h.mu.Unlock()
	v := vm{gate, boot}
	if _, ok := h.vms[v]; !ok && len(h.vms) >= maxHeard {
		h.forget(now)
	}
	h.vms[v] = now
}

// forget makes room: it drops who was not heard of for long, and at least the one of whom that is longest ago.
func (h *heard) forget(now time.Time) {
	var oldest vm
	for v, at := range h.vms {
		if now.Sub(at) > heardFor {
			delete(h.vms, v)
		} else if oldest == (vm{}) || at.Before(h.vms[oldest]) {
			oldest = v
		}
	}
	if len(h.vms) >= maxHeard {
		delete(h.vms, oldest)
	}
}

// gateStatus is a gate as the REST API shows it.
type gateStatus struct {
	Gate        string    `json:"gate" doc:"The name that the proxy gives itself: its node id."`
	VMs         int       `json:"vms" doc:"Those that were heard of within the last minute."`
	LastHeardAt time.Time `json:"last_heard_at"`
	Stale       bool      `json:"stale" doc:"Nothing was heard for a minute: a gate that is there reports once a second while it is used."`
}

// quiet is how long a gate may say nothing before it is called stale.
const quiet = time.Minute

// gates lists who was heard of, by name.
func (h *heard) gates() []gateStatus {
	now := h.now()
	h.mu.Lock()
	defer h.mu.Unlock()
	all := make([]gateStatus, 0)
	places := map[string]int{}
	for v, at := range h.vms {
		i, ok := places[v.gate]
		if !ok {
			i = len(all)
			places[v.gate] = i
			all = append(all, gateStatus{Gate: v.gate, Stale: true})
		}
		g := &all[i]
		if at.After(g.LastHeardAt) {
			g.LastHeardAt = at.UTC()
		}
		if now.Sub(at) <= quiet {
			g.VMs++
			g.Stale = false
		}
	}
	slices.SortFunc(all, func(a, b gateStatus) int { return strings.Compare(a.Gate, b.Gate) })
	return all
}

// active counts the VMs that were heard of within the last minute.
func (h *heard) active() (n int) {
	for _, g := range h.gates() {
		n += g.VMs
	}
	return n
}

// heardSync notes a sync, and says once for a gate if it comes from a later life of the data than this: such a gate takes
// every answer for outdated.
func (s *Server) heardSync(ctx context.Context, req *api.SyncRequest) {
	s.heard.note(req.Gate, req.Boot)
	if req.Epoch <= s.store.Epoch() {
		return
	}
	s.heard.mu.Lock()
	told := s.heard.ahead[req.Gate]
	if len(s.heard.ahead) < maxHeard {
		s.heard.ahead[req.Gate] = true
	}
	s.heard.mu.Unlock()
	if !told {
		s.log.ErrorContext(ctx, "a gate knows a later epoch: the database was put back by hand; stop and use tollgate restore",
			"gate", shownName(req.Gate), "epoch", s.store.Epoch(), "gate_epoch", req.Epoch, "request_id", requestID(ctx))
	}
}
