package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
)

// leasing is a control plane that grants every lease as large as it is wanted, and counts what it is asked. The fields
// are those of controlplane/api, which testenv does not import.
type leasing struct{ acquires atomic.Int64 }

func (l *leasing) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasSuffix(r.URL.Path, "/sync") {
		l.sync(w, r)
		return
	}
	var acquire struct {
		OpID string `json:"op_id"`
		Want int64  `json:"want"`
	}
	if err := json.NewDecoder(r.Body).Decode(&acquire); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	number := l.acquires.Add(1)
	_, _ = fmt.Fprintf(w, `{"op_id": %q, "verdict": "granted", "lease": {"id": "lease_%d", "credits": %d, "ttl_ms": 3600000, `+
		`"available": 1000, "account": "acct_1", "key": "key_1"}, "cursor": 1, "epoch": 1}`, acquire.OpID, number, acquire.Want)
}

// sync believes every report.
func (*leasing) sync(w http.ResponseWriter, r *http.Request) {
	type leaseAck struct {
		Lease  string `json:"lease"`
		Used   int64  `json:"used"`
		Action string `json:"action"`
	}
	var report struct {
		Void   []string `json:"void"`
		Leases []struct {
			Lease string `json:"lease"`
			Used  int64  `json:"used"`
			Final bool   `json:"final"`
		} `json:"leases"`
		Usage struct {
			Seq int64 `json:"seq"`
		} `json:"usage"`
	}
	if err := json.NewDecoder(r.Body).Decode(&report); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	reply := struct {
		Acked    []string   `json:"acked"`
		Leases   []leaseAck `json:"leases"`
		UsageSeq int64      `json:"usage_seq"`
		Epoch    int64      `json:"epoch"`
	}{Acked: append([]string{}, report.Void...), UsageSeq: report.Usage.Seq, Epoch: 1}
	for _, l := range report.Leases {
		action := "keep"
		if l.Final {
			action = "drop"
		}
		reply.Leases = append(reply.Leases, leaseAck{l.Lease, l.Used, action})
	}
	_ = json.NewEncoder(w).Encode(reply) // kept in memory, like the other answer
}
