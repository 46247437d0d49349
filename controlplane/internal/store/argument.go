package store

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// ErrInvalid is wrapped by errors that name an argument out of its documented range.
var ErrInvalid = errors.New("invalid argument")

// Limits on text, in bytes, and on pages, in rows.
const (
	MaxNameLen   = 200
	MaxReasonLen = 500
	MaxPageLimit = 1000
)

// maxPrefixLen and last4Len keep whoever confuses fields from storing a whole secret as its own prefix.
const (
	maxPrefixLen = 32
	last4Len     = 4
)

// checkText returns an error wrapping ErrInvalid unless value is minLen to maxLen bytes of UTF-8 without control
// characters. The error does not repeat the value, which may be a secret put in the wrong field.
func checkText(field, value string, minLen, maxLen int) error {
	if len(value) >= minLen && len(value) <= maxLen && utf8.ValidString(value) &&
		!strings.ContainsFunc(value, unicode.IsControl) {
		return nil
	}
	return fmt.Errorf("%w: %s: expected %d to %d bytes of text without control characters",
		ErrInvalid, field, minLen, maxLen)
}

// checkChars is checkText for text of up to maxLen characters, however many bytes each takes.
func checkChars(field, value string, maxLen int) error {
	if utf8.RuneCountInString(value) <= maxLen && utf8.ValidString(value) && !strings.ContainsFunc(value, unicode.IsControl) {
		return nil
	}
	return fmt.Errorf("%w: %s: expected at most %d characters without control characters", ErrInvalid, field, maxLen)
}

// Page selects part of a list: up to Limit rows, 1 to MaxPageLimit, that come after the id After in the list's
// order; an empty After starts at the newest. Rows added meanwhile neither repeat nor hide the rows that follow.
type Page struct {
	Limit int
	After string
}

// afterNewest sorts after every id.
const afterNewest = "~"

// bounds returns the id that the page's rows precede and how many rows to ask for: one more than the page holds,
// to see whether others follow.
func (p Page) bounds() (after string, rows int64, err error) {
	if p.Limit < 1 || p.Limit > MaxPageLimit {
		return "", 0, fmt.Errorf("%w: limit: expected 1 to %d", ErrInvalid, MaxPageLimit)
	}
	if p.After == "" {
		return afterNewest, int64(p.Limit) + 1, nil
	}
	return p.After, int64(p.Limit) + 1, nil
}

// cut converts the rows that belong on the page and reports whether there were more.
func cut[R, T any](rows []R, p Page, convert func(R) T) ([]T, bool) {
	more := len(rows) > p.Limit
	if more {
		rows = rows[:p.Limit]
	}
	out := make([]T, len(rows))
	for i, r := range rows {
		out[i] = convert(r)
	}
	return out, more
}
