package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// What a disk should have, and how fast it should be.
const (
	// littleSpace and noSpace are what should be free for the log and for what is recorded.
	littleSpace = 1 << 30
	noSpace     = 64 << 20
	// slowSync is beyond what a durable commit takes on a disk that is fit for it.
	slowSync = 20 * time.Millisecond
	// oldBackup is how old the newest backup may be.
	oldBackup = 25 * time.Hour
)

// examineConfig looks at what serve would be told.
func (c *doctorCommand) examineConfig(found *checks) {
	var bad []string
	for _, l := range []struct{ flag, addr string }{{"--listen", c.Listen}, {"--gate-listen", c.GateListen}, {"--ops-listen", c.OpsListen}} {
		if err := checkAddress(l.flag, l.addr); err != nil {
			bad = append(bad, err.Error())
		}
	}
	switch open := c.beyondLoopback(); {
	case len(bad) > 0:
		found.bad("listeners", failing, "correct the flags or the environment", "%s", strings.Join(bad, "; "))
	case len(open) > 0:
		found.bad("listeners", warning, "keep them on loopback, or behind TLS and a firewall: they speak plain HTTP", "reached from elsewhere: %s", strings.Join(open, ", "))
	default:
		found.ok("listeners", "%s, %s and %s, on this machine alone", c.Listen, c.GateListen, c.OpsListen)
	}
	schemes, err := c.read()
	switch {
	case err != nil:
		found.bad("schemes", failing, "correct the file; the filter's configuration has to have the same schemes", "%s", strings.ReplaceAll(err.Error(), "\n", "; "))
	case c.Schemes == "":
		found.ok("schemes", "the published ones, genrex and vexrail")
	default:
		found.ok("schemes", "%d of %s", len(schemes), c.Schemes)
	}
}

// beyondLoopback lists the listeners that other machines reach.
func (c *doctorCommand) beyondLoopback() (open []string) {
	for _, addr := range []string{c.Listen, c.GateListen, c.OpsListen} {
		host, _, err := net.SplitHostPort(addr)
		if ip := net.ParseIP(host); err == nil && host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			open = append(open, addr)
		}
	}
	return open
}

// examineDisk looks at where the database is, and returns whether it is there.
func (c *doctorCommand) examineDisk(found *checks) bool {
	if err := c.check(); err != nil {
		do := "name it with --db"
		if errors.Is(err, fs.ErrNotExist) {
			do = "name it with --db; tollgate token create makes a new one"
		}
		found.bad("database", failing, do, "%v", err)
		return false
	}
	dir := filepath.Dir(c.DB)
	free, err := freeBytes(dir)
	switch {
	case err != nil:
		found.bad("space", failing, "", "%v", err)
	case free < noSpace:
		found.bad("space", failing, "make room: what cannot be recorded is refused", "%s free", size(free))
	case free < littleSpace:
		found.bad("space", warning, "make room before it runs out: then nothing can be changed or charged", "%s free", size(free))
	default:
		found.ok("space", "%s free", size(free))
	}
	switch took, err := syncTime(dir); {
	case err != nil:
		found.bad("fsync", failing, "serve needs to write beside the database, too: its log and its lock", "%v", err)
	case took > slowSync:
		found.bad("fsync", warning, "a faster disk: every charge waits for it once", "%s", took.Round(10*time.Microsecond))
	default:
		found.ok("fsync", "%s", took.Round(10*time.Microsecond))
	}
	c.examineProcess(found)
	c.examineBackups(found)
	return true
}

func freeBytes(dir string) (int64, error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return 0, fmt.Errorf("look at free space: %w", err)
	}
	return int64(s.Bavail) * int64(s.Bsize), nil
}

// syncTime is the median of what a few durable writes of a page take, in a file of their own.
func syncTime(dir string) (_ time.Duration, err error) {
	f, err := os.CreateTemp(dir, ".tollgate-doctor-*")
	if err != nil {
		return 0, fmt.Errorf("try to write: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	var took [7]time.Duration
	for i := range took {
		start := time.Now()
		if _, err := f.Write(make([]byte, 4096)); err != nil {
			return 0, fmt.Errorf("try to write: %w", err)
		}
		if err := f.Sync(); err != nil {
			return 0, fmt.Errorf("try to write: %w", err)
		}
		took[i] = time.Since(start)
	}
	slices.Sort(took[:])
	return took[len(took)/2], nil
}

// examineBackups looks for the newest file in the folder of backups.
func (c *doctorCommand) examineBackups(found *checks) {
	if c.BackupDir == "" {
		return
	}
	files, err := os.ReadDir(c.BackupDir)
	if err != nil {
		found.bad("backups", failing, "make the folder, for the server's user alone", "%v", err)
		return
	}
	var newest time.Time
	for _, f := range files {
		if info, err := f.Info(); err == nil && strings.HasSuffix(f.Name(), ".db") && info.Size() > 0 && info.ModTime().After(newest) {
			newest = info.ModTime()
		}
	}
	switch age := time.Since(newest); {
	case newest.IsZero():
		found.bad("backups", warning, "POST /v1/backups, or tollgate backup, every day", "none in %s", c.BackupDir)
	case age > oldBackup:
		found.bad("backups", warning, "POST /v1/backups, or tollgate backup, every day", "the newest is %s old", age.Round(time.Minute))
	default:
		found.ok("backups", "the newest is %s old", age.Round(time.Minute))
	}
}
