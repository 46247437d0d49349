package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gin-gonic/gin"

	"github.com/tollgate/tollgate/controlplane/internal/ledger"
)

// status is what the running server knows of itself, as the REST API shows it.
type status struct {
	Version         string       `json:"version" doc:"That of the program's module, and (devel) where it was built in a checkout."`
	SQLiteVersion   string       `json:"sqlite_version"`
	StartedAt       time.Time    `json:"started_at"`
	UptimeSeconds   int64        `json:"uptime_seconds" doc:"By the clock that never steps."`
	Time            time.Time    `json:"time" doc:"What the server's clock says."`
	Schema          int64        `json:"schema" doc:"The newest migration of the database."`
	Epoch           int64        `json:"epoch" doc:"Which life of the data this is; every restore begins one."`
	Writable        bool         `json:"writable" doc:"false while the disk is full, or once it has failed."`
	LearningSeconds int64        `json:"learning_seconds" doc:"For how much longer, after a restore, leases hold one request's credits; 0 if they do not."`
	LostCredits     int64        `json:"lost_credits" doc:"Credits used of leases from before a restore, heard of since the server began; they are in no balance."`
	DatabaseBytes   int64        `json:"database_bytes"`
	LogBytes        int64        `json:"log_bytes" doc:"The database's write-ahead log."`
	OpenLeases      int64        `json:"open_leases"`
	ReservedCredits int64        `json:"reserved_credits"`
	Backups         bool         `json:"backups" doc:"Whether the server was told where to put backups."`
	Gates           []gateStatus `json:"gates" nullable:"false" doc:"The gates that were heard of since the server began."`
}

type statusOutput struct{ Body status }

// backup is one that was just made, as the REST API shows it.
type backup struct {
	Name         string    `json:"name" doc:"Of the file in the server's folder of backups."`
	Bytes        int64     `json:"bytes"`
	Schema       int64     `json:"schema"`
	Accounts     int64     `json:"accounts"`
	Transactions int64     `json:"transactions"`
	Entries      int64     `json:"entries"`
	CreatedAt    time.Time `json:"created_at"`
}

type backupInput struct {
	// Body takes no field; that it is declared makes huma refuse one.
	Body *struct{} `nameHint:"CreateBackupBody"`
}

type backupOutput struct{ Body backup }

const backupsPath = "/v1/backups"

func (s *Server) registerOperations(a huma.API) {
	handle(s, a, readStatus, huma.Operation{
		OperationID: "get-status", Method: http.MethodGet, Path: "/v1/status", Summary: "Tell how the server is, and which gates it has heard of",
	}, s.getStatus)
	handle(s, a, makeBackups, huma.Operation{
		OperationID: "create-backup", Method: http.MethodPost, Path: backupsPath, Summary: "Back up the database",
		Description: "Copies the database into the folder that the server was told of, and answers once the copy was verified, its " +
			"books too. One is made at a time. Only an owner may ask for it.",
		DefaultStatus: http.StatusCreated, Errors: []int{http.StatusConflict},
	}, s.createBackup)
}

// version is the program's own.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(unknown)"
}

func (s *Server) getStatus(ctx context.Context, _ *struct{}) (*statusOutput, error) {
	h, err := s.store.Health(ctx)
	if err != nil {
		return nil, fmt.Errorf("show status: %w", err)
	}
	held, err := s.store.Holdings(ctx)
	if err != nil {
		return nil, fmt.Errorf("show status: %w", err)
	}
	return &statusOutput{Body: status{
		Version: version(), SQLiteVersion: h.Library, StartedAt: s.started.UTC(), UptimeSeconds: int64(s.now().Sub(s.started).Seconds()),
		Time: s.now().UTC(), Schema: h.Schema, Epoch: h.Epoch, Writable: h.Unwritable == nil,
		LearningSeconds: int64((h.Learning + time.Second - 1) / time.Second), LostCredits: min(s.store.Stats().Lost, int64(ledger.MaxCredits)),
		DatabaseBytes: h.Bytes, LogBytes: h.LogBytes, OpenLeases: held.Open, ReservedCredits: held.Reserved,
		Backups: s.backupDir != "", Gates: s.heard.gates(),
	}}, nil
}

// errNoBackups means that a backup was asked for and nobody said where to put one.
var errNoBackups = errors.New("the server was started without --backup-dir")

func (s *Server) createBackup(ctx context.Context, _ *backupInput) (*backupOutput, error) {
	if s.backupDir == "" {
		return nil, errNoBackups
	}
	name, b, err := s.store.BackUpInto(ctx, s.backupDir)
	if err != nil {
		return nil, fmt.Errorf("create backup: %w", err)
	}
	return &backupOutput{Body: backup{
		Name: name, Bytes: b.Bytes, Schema: b.Schema, Accounts: b.Report.Accounts, Transactions: b.Report.Transactions,
		Entries: b.Report.Entries, CreatedAt: s.now().UTC(),
	}}, nil
}

// withoutDeadline lets the answer to a request for a backup take as long as it takes.
func withoutDeadline(c *gin.Context) {
	if c.FullPath() == backupsPath {
		// A writer that has no deadline needs none taken away.
		_ = http.NewResponseController(c.Writer).SetWriteDeadline(time.Time{})
	}
	c.Next()
}
