package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"syscall"
	"time"

	"github.com/tollgate/tollgate/controlplane/client"
)

// askTimeout bounds how long a server may take to answer.
const askTimeout = 5 * time.Second

// maxAnswer bounds what of an answer is read.
const maxAnswer = 4 << 20

// examineProcess finds out whether the database is being served, and asks the server at the operators' listener.
func (c *doctorCommand) examineProcess(found *checks) {
	served, err := c.served()
	switch {
	case err != nil:
		found.bad("server", failing, "", "%v", err)
		return
	case !served:
		found.bad("server", warning, "start it, if it should be: tollgate serve", "no process serves this database")
		return
	}
	code, body, err := ask(context.Background(), "http://"+c.OpsListen+"/readyz")
	switch {
	case err != nil:
		found.bad("server", warning, "tell doctor the server's --ops-listen", "a process serves the database, and none answers at %s", c.OpsListen)
	case code != http.StatusOK:
		found.bad("server", failing, "see its log", "it is not ready: %s", detail(code, body))
	default:
		found.ok("server", "ready at %s", c.OpsListen)
	}
}

// served reports whether a process holds the lock, without taking it from one that is about to.
func (c *doctorCommand) served() (bool, error) {
	real, err := resolve(c.DB)
	if err != nil {
		return false, fmt.Errorf("look at the lock: %w", err)
	}
	f, err := os.Open(real + ".lock")
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look at the lock: %w", err)
	}
	defer func() { _ = f.Close() }()
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return true, nil
	}
	return false, err
}

// ask gets a URL.
func ask(ctx context.Context, url string) (status int, body []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	return resp.StatusCode, body, err
}

// detail is what a problem says, or its status.
func detail(code int, body []byte) string {
	var p struct{ Detail string }
	if err := json.Unmarshal(body, &p); err != nil || p.Detail == "" {
		return fmt.Sprintf("status %d", code)
	}
	return p.Detail
}

// examineServer asks a server elsewhere.
func (c *doctorCommand) examineServer(ctx context.Context, found *checks) {
	const token = "put a token of role owner, operator or viewer into TOLLGATE_TOKEN"
	asked, err := client.New(c.Server, c.Token, client.Options{Timeout: askTimeout, Tries: 1})
	switch {
	case errors.Is(err, client.ErrBadBase):
		found.bad("server", failing, "--server http://HOST:PORT or https://HOST", "%v", client.ErrBadBase)
		return
	case err != nil:
		found.bad("server", failing, token, "%v", client.ErrBadToken)
		return
	}
	sent := time.Now()
	status, err := asked.Status(ctx)
	refused, isRefused := errors.AsType[*client.Problem](err)
	switch {
	case isRefused && (refused.Status == http.StatusUnauthorized || refused.Status == http.StatusForbidden):
		found.bad("server", failing, token, "%v", err)
	case isRefused:
		found.bad("server", failing, "see its log", "%v", err)
	case errors.Is(err, client.ErrAnswer):
		found.bad("server", failing, "name the admin listener of a tollgate serve of this version", "%v", err)
	case err != nil:
		found.bad("server", failing, "look whether it runs, and at what is between", "it does not answer: %v", err)
	default:
		examineStatus(&status, time.Since(sent), found)
	}
}

func examineStatus(s *client.Status, took time.Duration, found *checks) {
	found.ok("server", "%s, up for %s, answered in %s", s.Version, time.Duration(s.UptimeSeconds)*time.Second, took.Round(time.Millisecond))
	if s.Writable {
		found.ok("database", "%s, log of %s, schema %d, epoch %d (SQLite %s)", size(s.DatabaseBytes), size(s.LogBytes), s.Schema, s.Epoch, s.SQLiteVersion)
	} else {
		found.bad("database", failing, "make room on its disk, and see its log", "nothing can be changed or charged: the disk is full or has failed")
	}
	if off := time.Until(s.Time).Abs(); off > clockSlack {
		found.bad("clock", warning, "set both right, and keep them so with NTP", "it is %s away from this machine's", off.Round(time.Second))
	} else {
		found.ok("clock", "it agrees with this machine's")
	}
	if s.LearningSeconds > 0 {
		found.bad("restore", warning, "nothing: it ends by itself", "restored from a backup; leases hold one request's credits for %d s more", s.LearningSeconds)
	}
	if s.LostCredits > 0 {
		found.bad("lost leases", warning, "see whose they were (lost_leases here, leases in the database that was replaced), and adjust the accounts",
			"gates have used %d credits of leases that the restored backup does not know", s.LostCredits)
	}
	if len(s.Gates) == 0 {
		found.bad("gates", warning, "look at the proxy's log, its cluster for the control plane, and its gate token", "none was heard of since the server began")
	}
	for _, g := range s.Gates {
		text := fmt.Sprintf("%d VMs, last heard %s ago", g.VMs, s.Time.Sub(g.LastHeardAt).Round(time.Second))
		if g.Stale {
			found.bad("gate "+g.Gate, warning, "if it should be in use, look at its proxy; if it is gone, revoke its token", "%s", text)
		} else {
			found.ok("gate "+g.Gate, "%s", text)
		}
	}
}
