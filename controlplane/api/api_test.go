package api

import (
	"errors"
	"strings"
	"testing"
)

func goodRequest() AcquireRequest {
	return AcquireRequest{
		Gate: "edge-1", Boot: "b", OpID: "b-1", Scheme: "genrex",
		Digests: []string{strings.Repeat("0a", 32)}, Cost: 2, Want: 2, Mode: ModeStrict,
	}
}

func TestAcquireRequestValidate(t *testing.T) {
	good := goodRequest()
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		damage func(*AcquireRequest)
		field  string
	}{
		{"no gate", func(r *AcquireRequest) { r.Gate = "" }, "gate:"},
		{"long gate", func(r *AcquireRequest) { r.Gate = strings.Repeat("g", MaxGateLen+1) }, "gate:"},
		{"control character in boot", func(r *AcquireRequest) { r.Boot = "a\nb" }, "boot:"},
		{"no op_id", func(r *AcquireRequest) { r.OpID = "" }, "op_id:"},
		{"op_id of another boot", func(r *AcquireRequest) { r.OpID = "c-1" }, "op_id:"},
		{"op_id without more", func(r *AcquireRequest) { r.OpID = "b-" }, "op_id:"},
		{"long op_id", func(r *AcquireRequest) { r.OpID = "b-" + strings.Repeat("o", MaxOpIDLen) }, "op_id:"},
		{"no scheme", func(r *AcquireRequest) { r.Scheme = "" }, "scheme:"},
		{"no digest", func(r *AcquireRequest) { r.Digests = nil }, "digests:"},
		{"three digests", func(r *AcquireRequest) { r.Digests = make([]string, 3) }, "digests:"},
		{"upper-case digest", func(r *AcquireRequest) { r.Digests[0] = strings.Repeat("0A", 32) }, "digests[0]:"},
		{"short digest", func(r *AcquireRequest) { r.Digests[0] = "0a" }, "digests[0]:"},
		{"negative cost", func(r *AcquireRequest) { r.Cost, r.Want = -1, -1 }, "cost:"},
		{"cost above 2^53-1", func(r *AcquireRequest) { r.Cost, r.Want = MaxCredits+1, MaxCredits+1 }, "cost:"},
		{"want beyond cost", func(r *AcquireRequest) { r.Want = 3 }, "want:"},
		{"negative judges", func(r *AcquireRequest) { r.Judges = -1 }, "judges:"},
		{"long path", func(r *AcquireRequest) { r.Path = strings.Repeat("/", 3*MaxPathLen+1) }, "path:"},
		{"long method", func(r *AcquireRequest) { r.Method = strings.Repeat("M", 200) }, "method:"},
		{"unknown mode", func(r *AcquireRequest) { r.Mode = "loose" }, "mode:"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := goodRequest()
			tt.damage(&r)
			err := r.Validate()
			if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), ": "+tt.field) {
				t.Errorf("Validate = %v, want ErrInvalid naming %s", err, tt.field)
			}
		})
	}
}

func TestAcquireReplyValidate(t *testing.T) {
	req := goodRequest()
	lease := func() *Lease { return &Lease{Credits: 2, Account: "acct_1", Key: "key_1"} }
	tests := []struct {
		name  string
		reply AcquireReply
		ok    bool
	}{
		{"granted", AcquireReply{OpID: "b-1", Verdict: Granted, Lease: lease()}, true},
		{"denied", AcquireReply{OpID: "b-1", Verdict: InsufficientCredits}, true},
		{"another operation", AcquireReply{OpID: "b-2", Verdict: Granted, Lease: lease()}, false},
		{"empty", AcquireReply{}, false},
		{"unknown verdict", AcquireReply{OpID: "b-1", Verdict: "maybe"}, false},
		{"granted without lease", AcquireReply{OpID: "b-1", Verdict: Granted}, false},
		{"granted above the cost", AcquireReply{OpID: "b-1", Verdict: Granted, Lease: &Lease{Credits: 3, Account: "a", Key: "k"}}, false},
		{"granted without identity", AcquireReply{OpID: "b-1", Verdict: Granted, Lease: &Lease{Credits: 2}}, false},
		{"an account with a line break", AcquireReply{OpID: "b-1", Verdict: Granted, Lease: &Lease{Credits: 2, Account: "a\r\nx: y", Key: "k"}}, false},
		{"a project with a space", AcquireReply{OpID: "b-1", Verdict: Granted, Lease: &Lease{Credits: 2, Account: "a", Project: "p q", Key: "k"}}, false},
		{"restricted", AcquireReply{OpID: "b-1", Verdict: KeyRestricted}, true},
		{"granted with an unreadable restriction", AcquireReply{OpID: "b-1", Verdict: Granted, Lease: &Lease{Credits: 2, Account: "a", Key: "k", Restriction: &Restriction{AllowedIPs: []string{"x"}}}}, false},
		{"denied with a lease", AcquireReply{OpID: "b-1", Verdict: UnknownKey, Lease: lease()}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := tt.reply.Validate(&req); (err == nil) != tt.ok {
				t.Errorf("Validate = %v, want ok = %v", err, tt.ok)
			}
		})
	}
}

func TestSyncRequestValidate(t *testing.T) {
	good := func() SyncRequest {
		return SyncRequest{Gate: "edge-1", Boot: "b", Void: []string{"b-1"}, Unpaid: []Unpaid{
			{OpID: "b-2", Scheme: "genrex", Digests: []string{strings.Repeat("0a", 32)}, Cost: 1}}}
	}
	r := good()
	if err := r.Validate(); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		damage func(*SyncRequest)
		field  string
	}{
		{"no boot", func(r *SyncRequest) { r.Boot = "" }, "boot:"},
		{"another boot's void", func(r *SyncRequest) { r.Void[0] = "c-1" }, "void[0]:"},
		{"another boot's unpaid", func(r *SyncRequest) { r.Unpaid[0].OpID = "c-1" }, "unpaid[0].op_id:"},
		{"bad digest", func(r *SyncRequest) { r.Unpaid[0].Digests[0] = "x" }, "unpaid[0].digests[0]:"},
		{"negative cost", func(r *SyncRequest) { r.Unpaid[0].Cost = -1 }, "unpaid[0].cost:"},
		{"too many", func(r *SyncRequest) { r.Void = make([]string, MaxSyncOps) }, "void, unpaid:"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := good()
			tt.damage(&r)
			if err := r.Validate(); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), ": "+tt.field) {
				t.Errorf("Validate = %v, want ErrInvalid naming %s", err, tt.field)
			}
		})
	}
}
