package cli

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/tollgate/tollgate/controlplane/client"
)

// fileRow is a key of a file and the line on which it begins.
type fileRow struct {
	line int
	key  client.ImportedKey
}

// lineError is what is wrong with a line. It repeats nothing of it: keys are there in clear.
type lineError struct {
	line        int
	field, want string
}

func (e *lineError) Error() string {
	if e.field == "" {
		return fmt.Sprintf("line %d: %s", e.line, e.want)
	}
	return fmt.Sprintf("line %d: %s: %s", e.line, e.field, e.want)
}

// maxLine bounds a line of a file.
const maxLine = 1 << 20

// keysIn reads the keys of a file, JSON if its first character is a brace and CSV with a header otherwise. It goes on after
// a *lineError where that is possible, and ends with any other error.
func keysIn(file string) iter.Seq2[fileRow, error] {
	return func(yield func(fileRow, error) bool) {
		f, err := os.Open(file)
		if err != nil {
			yield(fileRow{}, err)
			return
		}
		defer func() { _ = f.Close() }()
		r := bufio.NewReaderSize(f, maxLine)
		start, _ := r.Peek(512)
		if mark := []byte("\ufeff"); bytes.HasPrefix(start, mark) {
			_, _ = r.Discard(len(mark))
			start = start[len(mark):]
		}
		if bytes.HasPrefix(bytes.TrimSpace(start), []byte("{")) {
			jsonRows(r, yield)
		} else {
			csvRows(r, yield)
		}
	}
}

// jsonRows reads one JSON object from each line that is not empty.
func jsonRows(r *bufio.Reader, yield func(fileRow, error) bool) {
	for line := 1; ; line++ {
		text, err := r.ReadSlice('\n')
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			yield(fileRow{}, &lineError{line, "", "expected a shorter line"})
			return
		case err != nil && !errors.Is(err, io.EOF):
			yield(fileRow{}, err)
			return
		}
		last := err != nil
		if text = bytes.TrimSpace(text); len(text) > 0 && !yield(fileRow{line: line}.decoded(text)) || last {
			return
		}
	}
}

const wantTime = "expected a time such as 2026-12-31T00:00:00Z"

// decoded is the row with the key that text holds. What the decoder itself says may quote the text.
func (row fileRow) decoded(text []byte) (fileRow, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	err := d.Decode(&row.key)
	if err == nil {
		if _, err = d.Token(); errors.Is(err, io.EOF) {
			return row, nil
		}
	}
	bad := &lineError{line: row.line, want: "expected one JSON object with the fields of a key"}
	if name, ok := strings.CutPrefix(fmt.Sprint(err), "json: unknown field "); ok {
		bad.field, bad.want = shownName(strings.Trim(name, `"`)), "unknown field"
	} else if kind, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		bad.field, bad.want = kind.Field, "expected another kind of value"
	} else if _, ok := errors.AsType[*time.ParseError](err); ok {
		bad.field, bad.want = "expires_at", wantTime
	}
	return row, bad
}

// shownName is the name of a field or column as it is repeated in errors: not if it might be a key, say of a file without a
// header.
func shownName(name string) string {
	if len(name) > 20 || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz_.") != "" {
		return "…"
	}
	return name
}

// listSeparator is between the routes, and between the networks, of a CSV's cell.
const listSeparator = ";"

const metadataColumn = "metadata."

// setCell puts a cell of a column into a key. It reports whether there is such a column.
func setCell(k *client.ImportedKey, column, text string) (known bool, err error) {
	texts := map[string]*string{
		"digest": &k.Digest, "last4": &k.Last4, "publishable_key": &k.PublishableKey, "account_id": &k.AccountID,
		"project_id": &k.ProjectID, "scheme": &k.Scheme, "name": &k.Name, "environment": &k.Environment, "external_ref": &k.ExternalRef,
	}
	if to := texts[column]; to != nil {
		*to = text
		return true, nil
	}
	switch name, isMetadata := strings.CutPrefix(column, metadataColumn); {
	case column == "secret":
		k.Secret = client.Secret(text)
	case column == "expires_at":
		at, err := time.Parse(time.RFC3339, text)
		if err != nil {
			return true, errors.New(wantTime)
		}
		k.ExpiresAt = &at
	case column == "routes":
		for part := range strings.SplitSeq(text, listSeparator) {
			var r route
			if err := r.UnmarshalText([]byte(strings.TrimSpace(part))); err != nil {
				return true, err
			}
			k.Routes = append(k.Routes, client.Route(r))
		}
	case column == "allowed_ips":
		for part := range strings.SplitSeq(text, listSeparator) {
			k.AllowedIPs = append(k.AllowedIPs, strings.TrimSpace(part))
		}
	case isMetadata && name != "":
		if k.Metadata == nil {
			k.Metadata = map[string]string{}
		}
		k.Metadata[name] = text
	default:
		return false, nil
	}
	return true, nil
}

// csvRows reads a header, and a key from each record. An empty cell is none.
func csvRows(r *bufio.Reader, yield func(fileRow, error) bool) {
	c := csv.NewReader(r)
	header, err := c.Read()
	if err == nil {
		err = checkHeader(header)
	}
	if err != nil {
		if !errors.Is(err, io.EOF) {
			yield(fileRow{}, csvError(err))
		}
		return
	}
	for {
		record, err := c.Read()
		switch {
		case errors.Is(err, io.EOF):
			return
		case err != nil:
			if !yield(fileRow{}, csvError(err)) || !errors.Is(err, csv.ErrFieldCount) {
				return
			}
			continue
		}
		line, _ := c.FieldPos(0)
		if !yield(fileRow{line: line}.filled(header, record)) {
			return
		}
	}
}

func checkHeader(header []string) error {
	for i, name := range header {
		// Of an empty cell only the column counts.
		if known, _ := setCell(new(client.ImportedKey), name, ""); !known {
			return &lineError{1, shownName(name), "unknown column; expected a header of names such as secret, account_id, scheme and name"}
		}
		if slices.Contains(header[:i], name) {
			return &lineError{1, shownName(name), "expected each column once"}
		}
	}
	return nil
}

func csvError(err error) error {
	if parse, ok := errors.AsType[*csv.ParseError](err); ok {
		return &lineError{parse.StartLine, "", "expected CSV: " + parse.Err.Error()}
	}
	return err
}

func (row fileRow) filled(header, record []string) (fileRow, error) {
	for i, text := range record {
		if text == "" {
			continue
		}
		if _, err := setCell(&row.key, header[i], text); err != nil {
			return row, &lineError{row.line, header[i], err.Error()}
		}
	}
	return row, nil
}
