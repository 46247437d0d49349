package api

import (
	"errors"
	"fmt"

	"github.com/tollgate/tollgate/controlplane/apikey/strictjson"
)

// ParseAcquireReply reads the body of the answer to an acquire. What it says is still to be judged by Validate.
//
// A field that is not in the contract is ignored, here and in ParseSyncReply alone: a newer control plane may say more to
// an older gate. Names match in their own case alone. A field that is missing or null is zero; null in an array is an
// error. So is a field of another type, one that is repeated, known or not, and everything else that strictjson.Parse
// refuses. Errors wrap ErrInvalid and quote at most names of fields.
func ParseAcquireReply(data []byte) (AcquireReply, error) {
	return parse(data, func(d decoder) (r AcquireReply) {
		for d.Object(); d.field(); {
			switch string(d.Name()) {
			case "op_id":
				r.OpID = d.Text()
			case "verdict":
				r.Verdict = Verdict(d.Text())
			case "lease":
				lease := d.lease()
				r.Lease = &lease
			case "retry_ms":
				r.RetryMillis = d.Integer()
			case "cursor":
				r.Cursor = d.Integer()
			case "epoch":
				r.Epoch = d.Integer()
			default:
				d.Skip()
			}
		}
		return r
	})
}

// ParseSyncReply reads the body of the answer to a sync, as ParseAcquireReply does.
func ParseSyncReply(data []byte) (SyncReply, error) {
	return parse(data, func(d decoder) (r SyncReply) {
		for d.Object(); d.field(); {
			switch string(d.Name()) {
			case "acked":
				r.Acked = list(d, decoder.Text)
			case "leases":
				r.Leases = list(d, decoder.leaseAck)
			case "usage_seq":
				r.UsageSeq = d.Integer()
			case "changes":
				r.Changes = list(d, decoder.change)
			case "more":
				r.More = d.Bool()
			case "cursor":
				r.Cursor = d.Integer()
			case "epoch":
				r.Epoch = d.Integer()
			default:
				d.Skip()
			}
		}
		return r
	})
}

// decoder reads the parts of replies.
type decoder struct{ *strictjson.Scanner }

// parse reads data by read, and returns nothing of it if any of it is wrong.
func parse[T any](data []byte, read func(decoder) T) (T, error) {
	d := decoder{strictjson.NewScanner(data)}
	reply := read(d)
	if err := d.End(); err != nil {
		var none T
		return none, invalid(err)
	}
	return reply, nil
}

// invalid makes strictjson's error one of this package.
func invalid(err error) error {
	var p *strictjson.Problem
	switch {
	case !errors.As(err, &p):
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	case p.Field == strictjson.Root:
		return fmt.Errorf("%w: expected %s", ErrInvalid, p.Want)
	}
	return fmt.Errorf("%w: %s: expected %s", ErrInvalid, p.Field, p.Want)
}

// field goes to the next field that is not null.
func (d decoder) field() bool {
	for d.Member() {
		if !d.Null() {
			return true
		}
	}
	return false
}

// list reads an array, of which each item is read by item.
func list[T any](d decoder, item func(decoder) T) []T {
	items := []T{}
	for d.Array(); d.Item(); {
		items = append(items, item(d))
	}
	return items
}

func (d decoder) lease() (l Lease) {
	for d.Object(); d.field(); {
		switch string(d.Name()) {
		case "id":
			l.ID = d.Text()
		case "credits":
			l.Credits = d.Integer()
		case "ttl_ms":
			l.TTLMillis = d.Integer()
		case "available":
			l.Available = d.Integer()
		case "restriction":
			r := d.restriction()
			l.Restriction = &r
		case "account":
			l.Account = d.Text()
		case "project":
			l.Project = d.Text()
		case "key":
			l.Key = d.Text()
		default:
			d.Skip()
		}
	}
	return l
}

func (d decoder) restriction() (r Restriction) {
	for d.Object(); d.field(); {
		switch string(d.Name()) {
		case "routes":
			r.Routes = list(d, decoder.routeRule)
		case "allowed_ips":
			r.AllowedIPs = list(d, decoder.Text)
		default:
			d.Skip()
		}
	}
	return r
}

func (d decoder) routeRule() (r RouteRule) {
	for d.Object(); d.field(); {
		switch string(d.Name()) {
		case "path":
			r.Path = d.Text()
		case "prefix":
			r.Prefix = d.Text()
		case "methods":
			r.Methods = list(d, decoder.Text)
		default:
			d.Skip()
		}
	}
	return r
}

func (d decoder) leaseAck() (a LeaseAck) {
	for d.Object(); d.field(); {
		switch string(d.Name()) {
		case "lease":
			a.Lease = d.Text()
		case "used":
			a.Used = d.Integer()
		case "action":
			a.Action = LeaseAction(d.Text())
		default:
			d.Skip()
		}
	}
	return a
}

func (d decoder) change() (c Change) {
	for d.Object(); d.field(); {
		switch string(d.Name()) {
		case "seq":
			c.Seq = d.Integer()
		case "kind":
			c.Kind = ChangeKind(d.Text())
		case "id":
			c.ID = d.Text()
		default:
			d.Skip()
		}
	}
	return c
}
