package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/tollgate/tollgate/controlplane/internal/store/queries"
)

// Restore says what to put in place of a database.
type Restore struct {
	// From is a backup, or another database; it is not changed. To is the database, which no process may serve meanwhile:
	// the caller holds its lock.
	From, To string
	// Replace: there may be something at To, which is then kept aside.
	Replace bool
	// Now is the clock; nil means time.Now.
	Now      func() time.Time
	Progress Progress
}

// Restored is what a Restore has come to.
type Restored struct {
	Backup
	// Epoch is that of the restored data: no life of it had a higher one.
	Epoch int64
	// Learning is how long at least no leases are granted once it is served; serve also goes by its own terms.
	Learning time.Duration
	// Aside is where what was replaced is now; empty if nothing was.
	Aside string
}

// Run puts a copy of r.From at r.To, in a new epoch: leases that gates hold from before are worth nothing to them once
// they hear of it, and until they have, or those leases are over, no lease is granted for more than a single request.
// See Store.Learning.
//
// The copy is brought to this program's schema and verified before anything is replaced: ErrUnsound, ErrSchemaTooNew and
// ErrExists leave everything as it was. The leases that were open in the backup stay so until that time is over: what
// gates report of them is settled as ever, and the rest by the rule for what was not reported.
func (r Restore) Run(ctx context.Context) (out Restored, err error) {
	if r.Now == nil {
		r.Now = time.Now
	}
	from, err := existingFile(r.From)
	if err == nil {
		r.To, err = absolute(r.To)
	}
	if err != nil {
		return Restored{}, fmt.Errorf("restore database: %w", err)
	}
	if err := r.check(from); err != nil {
		return Restored{}, fmt.Errorf("restore database: %w", err)
	}
	tmp, err := temporary(r.To)
	if err == nil {
		out, err = r.prepare(ctx, from, tmp)
	}
	if err == nil {
		out.Path = r.To
		out.Aside, err = r.install(ctx, tmp)
	}
	if err != nil {
		if tmp != "" {
			removeDatabase(tmp)
		}
		return Restored{}, fmt.Errorf("restore database: %w", err)
	}
	return out, nil
}

// check refuses to replace what is not to be.
func (r *Restore) check(from string) error {
	there, err := os.Stat(r.To)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !there.Mode().IsRegular():
		return fmt.Errorf("%s: %w: expected a file", r.To, ErrInvalid)
	}
	source, err := os.Stat(from)
	if err != nil {
		return err
	}
	if os.SameFile(source, there) {
		return fmt.Errorf("%s: %w: expected another file than the database itself", from, ErrInvalid)
	}
	if !r.Replace {
		return fmt.Errorf("%s: %w", r.To, ErrExists)
	}
	return nil
}

// prepare makes the restored database in the empty file tmp.
func (r *Restore) prepare(ctx context.Context, from, tmp string) (out Restored, err error) {
	if err := snapshot(ctx, from, tmp, r.Progress); err != nil {
		return Restored{}, unsound(Report{}, err)
	}
	// Before anything is done to it: a damaged file cannot be migrated either.
	if err := r.sound(ctx, tmp); err != nil {
		return Restored{}, err
	}
	db, err := openWriter(ctx, tmp)
	if err != nil {
		return Restored{}, err
	}
	out, err = r.begin(ctx, db)
	if err == nil {
		err = detach(ctx, db)
	}
	if err = errors.Join(err, db.Close()); err != nil {
		return Restored{}, err
	}
	if out.Backup, err = inspect(ctx, tmp, r.Progress); err != nil {
		return Restored{}, err
	}
	return out, syncFile(tmp)
}

// sound checks the file alone, and that it is a database of Tollgate's.
func (r *Restore) sound(ctx context.Context, path string) error {
	db, err := connect(path, copied)
	if err != nil {
		return err
	}
	s := &Store{readers: db}
	version, err := schemaVersion(ctx, db)
	if err == nil && version == 0 {
		err = fmt.Errorf("%w: it is no database of Tollgate's", ErrInvalid)
	}
	var report Report
	if err == nil {
		report, err = s.integrity(ctx)
	}
	return errors.Join(unsound(report, err), db.Close())
}

// begin starts the new epoch.
func (r *Restore) begin(ctx context.Context, db *sql.DB) (out Restored, err error) {
	q := queries.New(db)
	old, err := q.Meta(ctx, metaEpoch)
	if err != nil {
		return Restored{}, fmt.Errorf("read epoch: %w", err)
	}
	// One backup may be restored twice, and what it replaces may be a restored one itself: by the clock every life gets a
	// number of its own, and by the numbers that can be read also when the clock is wrong.
	out.Epoch = max(old, r.epochReplaced(ctx), r.Now().UnixMilli()-1) + 1
	ttl, err := q.LongestTTL(ctx)
	if err != nil {
		return Restored{}, fmt.Errorf("read leases: %w", err)
	}
	// As long again as the longest lease may live, so that a last report of it arrives too.
	out.Learning = 2 * time.Duration(max(ttl, 1)) * time.Millisecond
	newest, err := r.record(ctx, q, out.Epoch)
	if err != nil {
		return Restored{}, fmt.Errorf("record restore: %w", err)
	}
	for name, value := range map[string]int64{metaEpoch: out.Epoch, metaLearning: out.Learning.Microseconds(), metaIDs: newest} {
		if err := q.SetMeta(ctx, queries.SetMetaParams{Name: name, Value: value}); err != nil {
			return Restored{}, fmt.Errorf("begin epoch: %w", err)
		}
	}
	return out, nil
}

// record has the audit log say what was done, and returns the time that ids go on from.
func (r *Restore) record(ctx context.Context, q *queries.Queries, epoch int64) (newest int64, err error) {
	g := ids{now: r.Now}
	if g.last, err = q.Meta(ctx, metaIDs); err != nil {
		return 0, err
	}
	id, err := g.make(prefixAct)
	if err != nil {
		return 0, err
	}
	after, err := marshalView(restoreView{filepath.Base(r.From), epoch})
	if err != nil {
		return 0, err
	}
	return g.last, q.InsertAct(ctx, queries.InsertActParams{
		ID: id, AtUs: r.Now().UnixMicro(), ActorID: LocalActor.ID, ActorName: LocalActor.Name, Action: "database.restore",
		TargetKind: kindDatabase, TargetID: fmt.Sprintf("epoch_%d", epoch), After: after,
	})
}

// epochReplaced is that of the database to be replaced, 0 if there is none or it cannot be read.
func (r *Restore) epochReplaced(ctx context.Context) int64 {
	if _, err := os.Stat(r.To); err != nil {
		return 0
	}
	db, err := connect(r.To, copying)
	if err != nil {
		return 0
	}
	defer func() { _ = db.Close() }()
	epoch, err := queries.New(db).Meta(ctx, metaEpoch)
	if err != nil {
		return 0
	}
	return epoch
}

// install moves the finished file tmp to r.To, and what is there aside.
func (r *Restore) install(ctx context.Context, tmp string) (aside string, err error) {
	name := r.To + ".replaced-" + r.Now().UTC().Format(fileTime)
	if _, err := os.Stat(r.To); err == nil {
		if err := r.setAside(ctx, name); err != nil {
			return "", err
		}
		aside = name
	}
	if err := setLogAside(r.To, name); err != nil {
		return "", err
	}
	if err := os.Rename(tmp, r.To); err != nil {
		return "", err
	}
	return aside, syncDir(filepath.Dir(r.To))
}

// setAside gives the database the second name aside. The old one goes on standing for it until it stands for the new one,
// so that a process that dies in between does not leave serve to begin with an empty one.
func (r *Restore) setAside(ctx context.Context, aside string) error {
	// With its log folded in, the file is whole by itself. One that cannot be read stays as it is, its log beside it.
	if r.epochReplaced(ctx) > 0 {
		if db, err := connect(r.To, copied); err == nil {
			_, _ = db.ExecContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)")
			_ = db.Close()
		}
	}
	err := os.Link(r.To, aside)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s: %w", aside, ErrExists)
	}
	if err != nil {
		// Not every file system has links.
		return os.Rename(r.To, aside)
	}
	return nil
}

// setLogAside takes away what SQLite has put beside a database, or beside one that is gone: it would take that for the new
// one's. Logs keep beside aside what is in them.
func setLogAside(path, aside string) error {
	errs := []error{os.Rename(path+"-wal", aside+"-wal"), os.Rename(path+"-journal", aside+"-journal"), os.Remove(path + "-shm")}
	for i, err := range errs {
		if errors.Is(err, fs.ErrNotExist) {
			errs[i] = nil
		}
	}
	return errors.Join(errs...)
}

// removeDatabase removes a file that was given up, and what SQLite has put beside it.
func removeDatabase(path string) {
	for _, suffix := range []string{"", "-wal", "-shm", "-journal"} {
		_ = os.Remove(path + suffix)
	}
}
