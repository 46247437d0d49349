package api

import (
	"strconv"
	"unicode/utf8"
)

// The gate's half of the contract is written by hand, here and in decode.go: encoding/json would take an eighth of the
// filter's 4,000,000 bytes.

// AppendJSON appends r as JSON, byte for byte as json.Marshal writes it.
func (r *AcquireRequest) AppendJSON(dst []byte) []byte {
	dst = appendText(dst, `{"gate":`, r.Gate)
	dst = appendText(dst, `,"boot":`, r.Boot)
	dst = appendText(dst, `,"op_id":`, r.OpID)
	dst = appendText(dst, `,"scheme":`, r.Scheme)
	dst = appendTexts(dst, `,"digests":`, r.Digests)
	dst = appendInteger(dst, `,"cost":`, r.Cost)
	dst = appendInteger(dst, `,"want":`, r.Want)
	dst = appendText(dst, `,"mode":`, string(r.Mode))
	if r.Judges != 0 {
		dst = appendInteger(dst, `,"judges":`, r.Judges)
	}
	if r.Method != "" {
		dst = appendText(dst, `,"method":`, r.Method)
	}
	if r.Path != "" {
		dst = appendText(dst, `,"path":`, r.Path)
	}
	if r.Address != "" {
		dst = appendText(dst, `,"address":`, r.Address)
	}
	return append(dst, '}')
}

// AppendJSON appends r as JSON, byte for byte as json.Marshal writes it.
func (r *SyncRequest) AppendJSON(dst []byte) []byte {
	dst = appendText(dst, `{"gate":`, r.Gate)
	dst = appendText(dst, `,"boot":`, r.Boot)
	if len(r.Void) > 0 {
		dst = appendTexts(dst, `,"void":`, r.Void)
	}
	if len(r.Unpaid) > 0 {
		dst = appendList(dst, `,"unpaid":`, r.Unpaid, (*Unpaid).appendJSON)
	}
	if len(r.Leases) > 0 {
		dst = appendList(dst, `,"leases":`, r.Leases, (*LeaseReport).appendJSON)
	}
	if r.Usage != nil {
		dst = appendInteger(dst, `,"usage":{"seq":`, r.Usage.Seq)
		dst = appendList(dst, `,"rows":`, r.Usage.Rows, (*UsageRow).appendJSON)
		dst = append(dst, '}')
	}
	if r.Cursor != 0 {
		dst = appendInteger(dst, `,"cursor":`, r.Cursor)
	}
	if r.Epoch != 0 {
		dst = appendInteger(dst, `,"epoch":`, r.Epoch)
	}
	return append(dst, '}')
}

func (u *Unpaid) appendJSON(dst []byte) []byte {
	dst = appendText(dst, `{"op_id":`, u.OpID)
	dst = appendText(dst, `,"scheme":`, u.Scheme)
	dst = appendTexts(dst, `,"digests":`, u.Digests)
	dst = appendInteger(dst, `,"cost":`, u.Cost)
	return append(dst, '}')
}

func (l *LeaseReport) appendJSON(dst []byte) []byte {
	dst = appendText(dst, `{"lease":`, l.Lease)
	dst = appendInteger(dst, `,"used":`, l.Used)
	if l.Final {
		dst = append(dst, `,"final":true`...)
	}
	return append(dst, '}')
}

func (u *UsageRow) appendJSON(dst []byte) []byte {
	dst = append(dst, '{')
	if u.Key != "" {
		dst = appendText(dst, `"key":`, u.Key)
		dst = append(dst, ',')
	}
	dst = appendText(dst, `"route":`, u.Route)
	if u.Conversation != "" {
		dst = appendText(dst, `,"conversation":`, u.Conversation)
	}
	dst = appendInteger(dst, `,"requests":`, u.Requests)
	dst = appendInteger(dst, `,"credits":`, u.Credits)
	if u.Refused != 0 {
		dst = appendInteger(dst, `,"refused":`, u.Refused)
	}
	return append(dst, '}')
}

func appendInteger(dst []byte, before string, n int64) []byte {
	return strconv.AppendInt(append(dst, before...), n, 10)
}

func appendTexts(dst []byte, before string, texts []string) []byte {
	return appendList(dst, before, texts, func(s *string, dst []byte) []byte { return appendText(dst, "", *s) })
}

// appendList appends before and items, each by item; null for nil.
func appendList[T any](dst []byte, before string, items []T, item func(*T, []byte) []byte) []byte {
	dst = append(dst, before...)
	if items == nil {
		return append(dst, "null"...)
	}
	dst = append(dst, '[')
	for i := range items {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = item(&items[i], dst)
	}
	return append(dst, ']')
}

// appendText appends before and s as a string. What HTML or JavaScript would take for something else is escaped as
// json.Marshal does it, and bytes that are not UTF-8 are replaced.
func appendText(dst []byte, before, s string) []byte {
	dst = append(dst, before...)
	dst = append(dst, '"')
	for i := 0; i < len(s); {
		if c := s[i]; c < utf8.RuneSelf {
			dst = appendASCII(dst, c)
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			dst = append(dst, `\ufffd`...)
		case r == '\u2028':
			dst = append(dst, `\u2028`...)
		case r == '\u2029':
			dst = append(dst, `\u2029`...)
		default:
			dst = append(dst, s[i:i+n]...)
		}
		i += n
	}
	return append(dst, '"')
}

func appendASCII(dst []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\b':
		return append(dst, `\b`...)
	case '\f':
		return append(dst, `\f`...)
	case '\n':
		return append(dst, `\n`...)
	case '\r':
		return append(dst, `\r`...)
	case '\t':
		return append(dst, `\t`...)
	}
	if c < ' ' || c == '<' || c == '>' || c == '&' {
		const hex = "0123456789abcdef"
		return append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&0xf])
	}
	return append(dst, c)
}
