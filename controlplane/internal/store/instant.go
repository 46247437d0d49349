package store

import (
	"database/sql"
	"fmt"
	"time"
)

// maxExpiry is the first time that is too late to be an expiry: JSON has no year of five digits (RFC 3339 §5.6).
var maxExpiry = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)

// fromMicros reads a recorded time: they are kept in whole microseconds UTC.
func fromMicros(us int64) time.Time { return time.UnixMicro(us).UTC() }

// timeOf reads a recorded time that may be absent.
func timeOf(us sql.NullInt64) *time.Time {
	if !us.Valid {
		return nil
	}
	at := fromMicros(us.Int64)
	return &at
}

// toMicros is what is recorded of a time that may be absent.
func toMicros(at *time.Time) sql.NullInt64 {
	if at == nil {
		return sql.NullInt64{}
	}
	return sql.NullInt64{Int64: at.UnixMicro(), Valid: true}
}

// inMicros returns a time as it will be read back.
func inMicros(at *time.Time) *time.Time { return timeOf(toMicros(at)) }

// optional is what is recorded of a text that may be absent.
func optional(s string) sql.NullString { return sql.NullString{String: s, Valid: s != ""} }

func checkExpiry(at *time.Time) error {
	if at != nil && !at.Before(maxExpiry) {
		return fmt.Errorf("%w: expires_at: expected a year before 10000", ErrInvalid)
	}
	return nil
}

// checkFuture accepts nil: no expiry.
func (tx *writeTx) checkFuture(at *time.Time) error {
	// The first comparison also keeps times that have no count of microseconds from the second.
	if at != nil && (!at.After(fromMicros(tx.now)) || at.UnixMicro() <= tx.now) {
		return fmt.Errorf("%w: expires_at: expected a time in the future", ErrInvalid)
	}
	return nil
}
