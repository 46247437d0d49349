package client

import (
	"context"
	"net/http"
	"time"
)

// Status is what the running server knows of itself.
type Status struct {
	Version       string    `json:"version"`
	SQLiteVersion string    `json:"sqlite_version"`
	StartedAt     time.Time `json:"started_at"`
	UptimeSeconds int64     `json:"uptime_seconds"`
	Time          time.Time `json:"time"`
	Schema        int64     `json:"schema"`
	// Epoch is which life of the data this is; every restore begins one.
	Epoch    int64 `json:"epoch"`
	Writable bool  `json:"writable"`
	// LearningSeconds is for how much longer, after a restore, leases are small.
	LearningSeconds int64 `json:"learning_seconds"`
	LostCredits     int64 `json:"lost_credits"`
	DatabaseBytes   int64 `json:"database_bytes"`
	LogBytes        int64 `json:"log_bytes"`
	OpenLeases      int64 `json:"open_leases"`
	ReservedCredits int64 `json:"reserved_credits"`
	// Backups tells whether CreateBackup can be asked for.
	Backups bool         `json:"backups"`
	Gates   []GateStatus `json:"gates"`
}

// GateStatus is a gate that was heard of since the server began.
type GateStatus struct {
	Gate        string    `json:"gate"`
	VMs         int       `json:"vms"`
	LastHeardAt time.Time `json:"last_heard_at"`
	// Stale means that nothing was heard for a minute.
	Stale bool `json:"stale"`
}

// Backup is one that was just made, in the server's folder of backups.
type Backup struct {
	Name         string    `json:"name"`
	Bytes        int64     `json:"bytes"`
	Schema       int64     `json:"schema"`
	Accounts     int64     `json:"accounts"`
	Transactions int64     `json:"transactions"`
	Entries      int64     `json:"entries"`
	CreatedAt    time.Time `json:"created_at"`
}

// Status tells how the server is.
func (c *Client) Status(ctx context.Context, opts ...CallOption) (Status, error) {
	return read[Status](ctx, c, "/v1/status", nil, opts...)
}

// CreateBackup backs up the database and returns once the copy was verified, however long that takes.
func (c *Client) CreateBackup(ctx context.Context, opts ...CallOption) (Backup, error) {
	return change[Backup](ctx, c, http.MethodPost, "/v1/backups", nil, append(opts, func(c *call) { c.slow = true }))
}
