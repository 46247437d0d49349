package api

import "fmt"

// ParseAcquireRequest reads an acquire that is written as a gate of this version writes it: every field once and not null,
// but for those that it may omit, and no other. It refuses what strictjson.Parse refuses. Errors wrap ErrInvalid and quote at most names of fields. What
// the request says is still to be judged by Validate.
func ParseAcquireRequest(data []byte) (AcquireRequest, error) {
	const fields = 8
	seen, known := 0, true
	r, err := parse(data, func(d decoder) (r AcquireRequest) {
		for d.Object(); d.Member(); {
			seen++
			switch string(d.Name()) {
			case "gate":
				r.Gate = d.Text()
			case "boot":
				r.Boot = d.Text()
			case "op_id":
				r.OpID = d.Text()
			case "scheme":
				r.Scheme = d.Text()
			case "digests":
				r.Digests = list(d, decoder.Text)
			case "cost":
				r.Cost = d.Integer()
			case "want":
				r.Want = d.Integer()
			case "mode":
				r.Mode = Mode(d.Text())
			case "judges":
				seen--
				r.Judges = d.Integer()
			case "method":
				seen--
				r.Method = d.Text()
			case "path":
				seen--
				r.Path = d.Text()
			case "address":
				seen--
				r.Address = d.Text()
			default:
				known = false
				d.Skip()
			}
		}
		return r
	})
	if err == nil && (seen != fields || !known) {
		return AcquireRequest{}, fmt.Errorf("%w: expected the fields of an acquire", ErrInvalid)
	}
	return r, err
}

// AppendJSON appends r as JSON, byte for byte as json.Marshal writes it.
func (r *AcquireReply) AppendJSON(dst []byte) []byte {
	dst = appendText(dst, `{"op_id":`, r.OpID)
	dst = appendText(dst, `,"verdict":`, string(r.Verdict))
	if r.Lease != nil {
		dst = r.Lease.appendJSON(append(dst, `,"lease":`...))
	}
	dst = appendNonZero(dst, `,"retry_ms":`, r.RetryMillis)
	dst = appendNonZero(dst, `,"cursor":`, r.Cursor)
	dst = appendNonZero(dst, `,"epoch":`, r.Epoch)
	return append(dst, '}')
}

func (l *Lease) appendJSON(dst []byte) []byte {
	dst = append(dst, '{')
	if l.ID != "" {
		dst = append(appendText(dst, `"id":`, l.ID), ',')
	}
	dst = appendInteger(dst, `"credits":`, l.Credits)
	dst = appendNonZero(dst, `,"ttl_ms":`, l.TTLMillis)
	dst = appendInteger(dst, `,"available":`, l.Available)
	if l.Restriction != nil {
		dst = l.Restriction.appendJSON(append(dst, `,"restriction":`...))
	}
	dst = appendText(dst, `,"account":`, l.Account)
	if l.Project != "" {
		dst = appendText(dst, `,"project":`, l.Project)
	}
	dst = appendText(dst, `,"key":`, l.Key)
	return append(dst, '}')
}

func (r *Restriction) appendJSON(dst []byte) []byte {
	dst = append(dst, '{')
	if len(r.Routes) > 0 {
		dst = appendList(dst, `"routes":`, r.Routes, (*RouteRule).appendJSON)
	}
	if len(r.AllowedIPs) > 0 {
		dst = appendTexts(comma(dst), `"allowed_ips":`, r.AllowedIPs)
	}
	return append(dst, '}')
}

func (r *RouteRule) appendJSON(dst []byte) []byte {
	dst = append(dst, '{')
	if r.Path != "" {
		dst = appendText(dst, `"path":`, r.Path)
	}
	if r.Prefix != "" {
		dst = appendText(comma(dst), `"prefix":`, r.Prefix)
	}
	if len(r.Methods) > 0 {
		dst = appendTexts(comma(dst), `"methods":`, r.Methods)
	}
	return append(dst, '}')
}

// comma appends one unless an object has just begun.
func comma(dst []byte) []byte {
	if dst[len(dst)-1] == '{' {
		return dst
	}
	return append(dst, ',')
}

func appendNonZero(dst []byte, before string, n int64) []byte {
	if n == 0 {
		return dst
	}
	return appendInteger(dst, before, n)
}
