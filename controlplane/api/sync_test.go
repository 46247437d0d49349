package api

import (
	"errors"
	"strings"
	"testing"
)

func TestLeaseAndUsageReportsValidate(t *testing.T) {
	good := func() SyncRequest {
		return SyncRequest{
			Gate: "edge-1", Boot: "b", Void: []string{"b-1"}, Cursor: 7, Epoch: 1,
			Leases: []LeaseReport{{Lease: "lease_1", Used: 3, Final: true}},
			Usage:  &UsageBatch{Seq: 1, Rows: []UsageRow{{Key: "key_1", Route: "/v1/", Requests: 2, Credits: 2}, {Route: OtherRows, Requests: 1}}},
		}
	}
	r := good()
	if err := r.Validate(); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		field  string
		damage func(*SyncRequest)
	}{
		{"void[0]:", func(r *SyncRequest) { r.Void[0] = "c-1" }},
		{"void, unpaid:", func(r *SyncRequest) { r.Void = make([]string, MaxSyncOps+1) }},
		{"leases:", func(r *SyncRequest) { r.Leases = make([]LeaseReport, MaxSyncLeases+1) }},
		{"leases[0].lease:", func(r *SyncRequest) { r.Leases[0].Lease = strings.Repeat("l", MaxIDLen+1) }},
		{"leases[0].lease:", func(r *SyncRequest) { r.Leases[0].Lease = "" }},
		{"leases[0].used:", func(r *SyncRequest) { r.Leases[0].Used = -1 }},
		{"leases[0].used:", func(r *SyncRequest) { r.Leases[0].Used = MaxCredits + 1 }},
		{"usage.seq:", func(r *SyncRequest) { r.Usage.Seq = 0 }},
		{"usage.rows:", func(r *SyncRequest) { r.Usage.Rows = make([]UsageRow, MaxUsageRows+1) }},
		{"usage.rows[0].key:", func(r *SyncRequest) { r.Usage.Rows[0].Key = "a b" }},
		{"usage.rows[0].route:", func(r *SyncRequest) { r.Usage.Rows[0].Route = "" }},
		{"usage.rows[0].conversation:", func(r *SyncRequest) { r.Usage.Rows[0].Conversation = "\n" }},
		{"usage.rows[0].requests:", func(r *SyncRequest) { r.Usage.Rows[0].Requests = -1 }},
		{"usage.rows[0].credits:", func(r *SyncRequest) { r.Usage.Rows[0].Credits = MaxCredits + 1 }},
		{"usage.rows[1].refused:", func(r *SyncRequest) { r.Usage.Rows[1].Refused = -1 }},
		{"cursor, epoch:", func(r *SyncRequest) { r.Cursor = -1 }},
		{"cursor, epoch:", func(r *SyncRequest) { r.Epoch = -1 }},
	}
	for _, tt := range tests {
		r := good()
		tt.damage(&r)
		if err := r.Validate(); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), ": "+tt.field) {
			t.Errorf("%s Validate = %v, want ErrInvalid naming it", tt.field, err)
		}
	}
}

func TestSyncReplyValidate(t *testing.T) {
	good := func() SyncReply {
		return SyncReply{
			Acked: []string{"b-1"}, UsageSeq: 1, Cursor: 9, Epoch: 1,
			Leases:  []LeaseAck{{Lease: "lease_1", Used: 3, Action: LeaseKeep}},
			Changes: []Change{{Seq: 8, Kind: ChangeKey, ID: "key_1"}, {Seq: 9, Kind: ChangeAll}},
		}
	}
	r := good()
	if err := r.Validate(); err != nil {
		t.Fatal(err)
	}
	for field, damage := range map[string]func(*SyncReply){
		"usage_seq, cursor, epoch:": func(r *SyncReply) { r.UsageSeq = -1 },
		"leases[0].lease:":          func(r *SyncReply) { r.Leases[0].Lease = strings.Repeat("l", MaxIDLen+1) },
		"leases[0].used:":           func(r *SyncReply) { r.Leases[0].Used = -1 },
		"changes[0].seq:":           func(r *SyncReply) { r.Changes[0].Seq = 0 },
		"changes[0].id:":            func(r *SyncReply) { r.Changes[0].ID = "" },
	} {
		r := good()
		damage(&r)
		if err := r.Validate(); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), ": "+field) {
			t.Errorf("%s Validate = %v, want ErrInvalid naming it", field, err)
		}
	}
}
