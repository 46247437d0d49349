package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// errLocked means that another process serves the same database.
var errLocked = errors.New("another tollgate serve uses this database")

// Tollgate doctor looks at the lock for a moment, which is not to look like a server.
const (
	lockAttempts = 5
	lockPause    = 20 * time.Millisecond
)

// lockDatabase takes the lock that a serving process holds on the database at path, on a file of its own beside
// it: closing any descriptor of the database itself would drop SQLite's locks. The lock ends with the returned
// file or the process; the file stays, because removing it would let two processes lock two files of one name.
func lockDatabase(path string) (*os.File, error) {
	real, err := resolve(path)
	if err != nil {
		return nil, fmt.Errorf("lock database: %w", err)
	}
	name := real + ".lock"
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock database: %w", err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	for range lockAttempts {
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			break
		}
		time.Sleep(lockPause)
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	}
	if err != nil {
		_ = f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock database: %w: %s is held", errLocked, name)
		}
		return nil, fmt.Errorf("lock database: %s: %w", name, err)
	}
	return f, nil
}

// resolve follows links, so that one database has one lock whatever it is called by. The file itself need not
// exist.
func resolve(path string) (string, error) {
	real, err := filepath.EvalSymlinks(path)
	if !errors.Is(err, os.ErrNotExist) {
		return real, err
	}
	dir, err := filepath.EvalSymlinks(filepath.Dir(path))
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, filepath.Base(path)), nil
}
