package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	sqlite3 "modernc.org/sqlite/lib"
)

// Errors of copies; test for them with errors.Is.
var (
	// ErrExists means that there is a file already where one was to be made. It was left alone.
	ErrExists = errors.New("file exists already")
	// ErrUnsound means that a file is damaged or its books do not agree.
	ErrUnsound = errors.New("database is not sound")
)

// Backup is a copy of a database that was made and verified.
type Backup struct {
	Path  string
	Bytes int64
	// Schema is its version. An older one than this program's was not looked into beyond the file's own integrity.
	Schema int64
	Report Report
}

// Verified reports whether the books were recomputed, and not the file's integrity alone.
func (b *Backup) Verified() bool { return b.Schema == newestSchema() }

// BackUp copies the database at from into a new file at to, readable by its owner alone, beside whoever serves from it.
// It returns once the copy was verified and survives a power cut. It never overwrites: ErrExists if there is something
// at to. A copy that is ErrUnsound is kept as to with ".unsound" added, for there may be no better one; Report then has
// the problems. After any other error nothing is left.
func BackUp(ctx context.Context, from, to string, progress Progress) (b Backup, err error) {
	if from, err = existingFile(from); err != nil {
		return Backup{}, err
	}
	if to, err = absolute(to); err != nil {
		return Backup{}, err
	}
	if err := claim(to); err != nil {
		return Backup{}, err
	}
	tmp, err := temporary(to)
	if err == nil {
		b, err = writeBackup(ctx, from, tmp, progress)
	}
	switch {
	case err == nil:
		b.Path, err = to, os.Rename(tmp, to)
	case b.Path != "":
		b.Path = to + ".unsound"
		err = errors.Join(err, os.Rename(tmp, b.Path), os.Remove(to))
	default:
		// The names are this call's own: one was claimed, the other is made up.
		_, _ = os.Remove(to), os.Remove(tmp)
	}
	if err = errors.Join(err, syncDir(filepath.Dir(to))); err != nil {
		err = fmt.Errorf("back up database: %w", err)
	}
	return b, err
}

// ErrBackupRunning means that a backup of this store is being made already.
var ErrBackupRunning = errors.New("a backup is being made")

// BackUpInto is BackUp into dir, under a name with the time in it, which it returns. The context's actor is who asked
// for it, as the audit log will say. A server makes one at a time: ErrBackupRunning.
func (s *Store) BackUpInto(ctx context.Context, dir string) (name string, b Backup, err error) {
	if !s.copying.TryLock() {
		return "", Backup{}, ErrBackupRunning
	}
	defer s.copying.Unlock()
	name = "tollgate-" + s.now().UTC().Format(fileTime) + ".db"
	if b, err = BackUp(ctx, s.path, filepath.Join(dir, name), nil); err != nil {
		return "", Backup{}, err
	}
	_, err = write(ctx, s, func(tx *writeTx) (struct{}, error) {
		return struct{}{}, tx.audit(act{
			action: "backup.create", kind: kindBackup, id: name, after: backupView{b.Bytes, b.Schema, b.Report.Entries},
		})
	})
	if err != nil {
		return "", Backup{}, fmt.Errorf("record backup %s: %w", name, err)
	}
	return name, b, nil
}

// fileTime is how a time is written in the name of a file.
const fileTime = "20060102T150405.000Z"

// claim makes an empty file, so that nobody else makes one of this name. A log that was left beside an older one would be
// taken for its own.
func claim(path string) error {
	for _, suffix := range []string{"-wal", "-journal"} {
		if _, err := os.Lstat(path + suffix); err == nil {
			return fmt.Errorf("%s: %w", path+suffix, ErrExists)
		}
	}
	creating.Lock()
	defer creating.Unlock()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s: %w", path, ErrExists)
	}
	if err != nil {
		return fmt.Errorf("create file: %w", err)
	}
	return f.Close()
}

// temporary makes an empty file beside path, for its owner alone.
func temporary(path string) (string, error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*.partial")
	if err != nil {
		return "", fmt.Errorf("create file: %w", err)
	}
	return f.Name(), f.Close()
}

// writeBackup copies into the empty file at to and verifies what it wrote. If that is ErrUnsound, there is a Backup all
// the same.
func writeBackup(ctx context.Context, from, to string, progress Progress) (b Backup, err error) {
	if err = snapshot(ctx, from, to, progress); err == nil {
		err = finishCopy(ctx, to)
	}
	if err != nil {
		return Backup{}, unsound(Report{}, err)
	}
	if b, err = inspect(ctx, to, progress); err != nil && !errors.Is(err, ErrUnsound) {
		b = Backup{}
	}
	return b, err
}

func finishCopy(ctx context.Context, path string) error {
	db, err := sql.Open("sqlite", dsn(path, copied))
	if err != nil {
		return fmt.Errorf("open copy: %w", err)
	}
	db.SetMaxOpenConns(1)
	if err := errors.Join(detach(ctx, db), db.Close()); err != nil {
		return err
	}
	return syncFile(path)
}

// inspect verifies a database that nobody changes. What is wrong with it is ErrUnsound, and in the Report.
func inspect(ctx context.Context, path string, progress Progress) (b Backup, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return Backup{}, fmt.Errorf("verify copy: %w", err)
	}
	db, err := connect(path, copying)
	if err != nil {
		return Backup{}, err
	}
	s := &Store{readers: db}
	defer func() { err = errors.Join(err, db.Close()) }()
	b = Backup{Path: path, Bytes: info.Size()}
	if b.Schema, err = schemaVersion(ctx, db); err == nil && b.Verified() {
		b.Report, err = s.VerifyWith(ctx, progress)
	} else if err == nil {
		b.Report, err = s.integrity(ctx)
	}
	return b, unsound(b.Report, err)
}

// unsound makes ErrUnsound of problems, and of an error that says that a file is too damaged to be read.
func unsound(r Report, err error) error {
	switch code := resultCode(err); {
	case code == sqlite3.SQLITE_CORRUPT || code == sqlite3.SQLITE_NOTADB:
		return fmt.Errorf("%w: %w", ErrUnsound, err)
	case err != nil:
		return err
	case len(r.Problems) > 0:
		return fmt.Errorf("%w: %s", ErrUnsound, r.Problems[0])
	}
	return nil
}
