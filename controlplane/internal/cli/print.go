package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/tollgate/tollgate/controlplane/client"
)

// column is a part of a T for people.
type column[T any] struct {
	name string
	// detail means that lists do not show it.
	detail bool
	text   func(T) string
}

// cell is what a column shows of a value: "-" for none, times in UTC.
func cell(value any) string {
	switch v := value.(type) {
	case nil:
		return "-"
	case string:
		return plain(v)
	case *string:
		if v != nil {
			return plain(*v)
		}
	case int64:
		return strconv.FormatInt(v, 10)
	case int:
		return strconv.Itoa(v)
	case *int64:
		if v != nil {
			return strconv.FormatInt(*v, 10)
		}
	case bool:
		return strconv.FormatBool(v)
	case time.Time:
		return v.UTC().Format(time.RFC3339)
	case *time.Time:
		if v != nil {
			return v.UTC().Format(time.RFC3339)
		}
	default:
		return plain(fmt.Sprint(v))
	}
	return "-"
}

// plain makes text safe for a terminal and for a table of one line per row.
func plain(text string) string {
	switch {
	case text == "":
		return "-"
	case !utf8.ValidString(text), strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }):
		return strconv.QuoteToASCII(text)
	}
	return text
}

func newTable(w io.Writer) *tabwriter.Writer { return tabwriter.NewWriter(w, 0, 0, 2, ' ', 0) }

// encode is v as the server wrote it, on one line.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return b.Bytes(), err
}

// show prints one T, every column on its own line.
func show[T any](s *Streams, f format, columns []column[T], v T) error {
	if f.JSON {
		return printJSON(s, v)
	}
	t := newTable(s.Out)
	for _, c := range columns {
		_, _ = fmt.Fprintf(t, "%s\t%s\n", c.name, c.text(v))
	}
	return flush(t)
}

func printJSON(s *Streams, v any) error {
	text, err := encode(v)
	if err != nil {
		return fmt.Errorf("print: %w", err)
	}
	if _, err := s.Out.Write(text); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return nil
}

func flush(t *tabwriter.Writer) error {
	if err := t.Flush(); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return nil
}

// one asks for a T and shows it.
func one[T any](s *Streams, a *asking, columns []column[T], get func(context.Context, *client.Client) (T, error)) error {
	return a.ask(func(ctx context.Context, c *client.Client) error {
		v, err := get(ctx, c)
		if err != nil {
			return err
		}
		return show(s, a.format, columns, v)
	})
}

// listing is what every list takes.
type listing struct {
	asking
	Limit *int `placeholder:"N" help:"List at most so many, 0 for all. By default a table has 100, and JSON has all."`
}

const tableLimit = 100

// most is how many rows are printed at most.
func (l *listing) most() int {
	switch {
	case l.Limit != nil:
		return *l.Limit
	case l.JSON:
		return 0
	}
	return tableLimit
}

// Validate is called by kong.
func (l *listing) Validate() error {
	if l.Limit != nil && *l.Limit < 0 {
		return fmt.Errorf("--limit: expected 0 or more")
	}
	return l.Connection.Validate()
}

// many asks for a list and shows it. A list that breaks off is an error, and in JSON has no end.
func many[T any](s *Streams, l *listing, columns []column[T], get func(context.Context, *client.Client) iter.Seq2[T, error]) error {
	return l.ask(func(ctx context.Context, c *client.Client) error {
		p := printer[T]{out: s.Out, json: l.JSON, columns: columns}
		most := l.most()
		for row, err := range get(ctx, c) {
			if err != nil {
				return p.broken(err)
			}
			if most > 0 && p.rows == most {
				_, _ = fmt.Fprintln(s.Err, "tollgate: there are more: see --limit")
				break
			}
			if err := p.row(row); err != nil {
				return err
			}
		}
		return p.end()
	})
}

// printer prints rows as they come.
type printer[T any] struct {
	out     io.Writer
	json    bool
	columns []column[T]
	table   *tabwriter.Writer
	rows    int
}

func (p *printer[T]) row(row T) error {
	p.rows++
	if !p.json {
		p.begin()
		p.line(func(c column[T]) string { return c.text(row) })
		return nil
	}
	text, err := encode(row)
	if err == nil {
		lead := ",\n"
		if p.rows == 1 {
			lead = "["
		}
		_, err = fmt.Fprintf(p.out, "%s%s", lead, bytes.TrimSpace(text))
	}
	if err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return nil
}

func (p *printer[T]) begin() {
	if p.table == nil {
		p.table = newTable(p.out)
		p.line(func(c column[T]) string { return strings.ToUpper(c.name) })
	}
}

func (p *printer[T]) line(text func(column[T]) string) {
	var cells []string
	for _, c := range p.columns {
		if !c.detail {
			cells = append(cells, text(c))
		}
	}
	// A tabwriter keeps its error for Flush.
	_, _ = fmt.Fprintln(p.table, strings.Join(cells, "\t"))
}

func (p *printer[T]) end() error {
	if !p.json {
		p.begin()
		return flush(p.table)
	}
	end := "]\n"
	if p.rows == 0 {
		end = "[]\n"
	}
	if _, err := io.WriteString(p.out, end); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return nil
}

// broken prints what there was before err.
func (p *printer[T]) broken(err error) error {
	if p.table != nil {
		_ = p.table.Flush()
	}
	return err
}
