package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tollgate/tollgate/controlplane/internal/store/queries"
)

// Limits of metadata: entries, and bytes of a name and characters of a value.
const (
	MaxMetadata         = 16
	MaxMetadataNameLen  = 40
	MaxMetadataValueLen = 200
)

// Metadata is what an owner notes about a key for his own use: names and texts, in canonical JSON, or "" for none. As
// text it is immutable, and two of them can be compared.
type Metadata string

// NewMetadata makes Metadata of up to MaxMetadata entries. A name is 1 to MaxMetadataNameLen characters from A-Z, a-z, 0-9,
// ".", "_" and "-", a value at most MaxMetadataValueLen characters of text without control characters. Otherwise the error
// wraps ErrInvalid; it repeats no value.
func NewMetadata(entries map[string]string) (Metadata, error) {
	if len(entries) == 0 {
		return "", nil
	}
	var err error
	if len(entries) > MaxMetadata {
		err = fmt.Errorf("%w: metadata: expected at most %d entries", ErrInvalid, MaxMetadata)
	}
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		if !isMetadataName(name) {
			err = errors.Join(err, fmt.Errorf("%w: metadata: expected names of 1 to %d characters from A-Z, a-z, 0-9, . _ and -",
				ErrInvalid, MaxMetadataNameLen))
			continue
		}
		err = errors.Join(err, checkChars("metadata."+name, entries[name], MaxMetadataValueLen))
	}
	if err != nil {
		return "", err
	}
	// A map of strings can make Marshal fail as little as invalid UTF-8 can, which was refused. Names come out sorted.
	text, _ := json.Marshal(entries)
	return Metadata(text), nil
}

// Entries returns the names and values, none of which may be changed for others: the map is the caller's own.
func (m Metadata) Entries() map[string]string {
	entries := map[string]string{}
	if m != "" {
		// It was made by NewMetadata.
		_ = json.Unmarshal([]byte(m), &entries)
	}
	return entries
}

// MarshalJSON shows m as the object that it is.
func (m Metadata) MarshalJSON() ([]byte, error) { return json.Marshal(m.Entries()) }

func isMetadataName(s string) bool {
	return s != "" && len(s) <= MaxMetadataNameLen && !strings.ContainsFunc(s, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '.' && c != '_' && c != '-'
	})
}

// indexMetadata brings the table by which keys are found from the entries of old to those of next.
func (tx *writeTx) indexMetadata(keyID string, old, next Metadata) error {
	if old == next {
		return nil
	}
	before, after := old.Entries(), next.Entries()
	for name, value := range before {
		if v, kept := after[name]; kept && v == value {
			continue
		}
		err := tx.DeleteKeyMetadata(tx.ctx, queries.DeleteKeyMetadataParams{Name: name, Value: value, KeyID: keyID})
		if err != nil {
			return fmt.Errorf("index metadata: %w", err)
		}
	}
	for name, value := range after {
		if v, known := before[name]; known && v == value {
			continue
		}
		if _, err := tx.exec(stmtInsertMetadata, name, value, keyID); err != nil {
			return fmt.Errorf("index metadata: %w", err)
		}
	}
	return nil
}
