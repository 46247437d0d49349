package filter

import (
	"crypto/rand"
	"encoding/hex"
	"strconv"

	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"

	"github.com/tollgate/tollgate/controlplane/api"
	"github.com/tollgate/tollgate/plugin/access"
)

// gate speaks the gate protocol for one VM.
type gate struct {
	controlPlane access.ControlPlane
	token        string
	// name and boot are made on the first acquire, because Envoy also starts plugins in a VM that never
	// serves and the node's id is the host's to tell.
	name, boot string
	seq        uint64
}

// begin makes the gate's name and boot, before the first message.
func (g *gate) begin() {
	if g.boot == "" {
		g.boot = newBoot()
		g.name = nodeID()
	}
}

// opID returns an operation id that no other operation has.
func (g *gate) opID() string {
	g.begin()
	g.seq++
	return g.boot + "-" + strconv.FormatUint(g.seq, 10)
}

// request makes an acquire for d's request, under an operation id of its own.
func (g *gate) request(d *access.Decision, mode api.Mode, want int64) *api.AcquireRequest {
	op := g.opID()
	return &api.AcquireRequest{
		Gate: g.name, Boot: g.boot, OpID: op, Scheme: d.Route.Scheme.Name, Digests: d.Digests(),
		Cost: d.Route.Cost, Want: want, Mode: mode,
	}
}

// acquire sends req. If it returns nil, done is called once, later, unless the context that is active now is gone by
// then: with the reply, or with nil and why there is none.
func (g *gate) acquire(req *api.AcquireRequest, done func(*api.AcquireReply, calloutFailure)) error {
	return g.send(api.AcquirePath, req.AppendJSON(nil), g.controlPlane.TimeoutMillis, func(numHeaders, bodySize int) {
		done(readReply(req, numHeaders, bodySize))
	})
}

// send POSTs body to the control plane. If it returns nil, done is called once, later, in the context that is
// active now, unless that context is gone by then.
func (g *gate) send(path string, body []byte, timeoutMillis uint32, done func(numHeaders, bodySize int)) error {
	headers := [][2]string{
		{":method", "POST"},
		{":path", path},
		{":authority", g.controlPlane.Cluster},
		{"authorization", "Bearer " + g.token},
		{"content-type", "application/json"},
	}
	_, err := proxywasm.DispatchHttpCall(g.controlPlane.Cluster, headers, body, nil, timeoutMillis,
		func(numHeaders, bodySize, _ int) { done(numHeaders, bodySize) })
	return err
}

// readReply reads the response of an acquire. Whatever is not a whole reply to req is no reply.
func readReply(req *api.AcquireRequest, numHeaders, bodySize int) (*api.AcquireReply, calloutFailure) {
	body, failure := readBody(numHeaders, bodySize, api.MaxMessageBytes)
	if failure != calloutAnswered {
		return nil, failure
	}
	reply, err := api.ParseAcquireReply(body)
	if err != nil || reply.Validate(req) != nil {
		return nil, calloutBody
	}
	return &reply, calloutAnswered
}

// readBody returns the body of a callout's response if its status is 200 and its size 1 to limit bytes.
func readBody(numHeaders, bodySize, limit int) ([]byte, calloutFailure) {
	if numHeaders == 0 {
		return nil, calloutReset
	}
	headers, err := proxywasm.GetHttpCallResponseHeaders()
	if err != nil {
		return nil, calloutReset
	}
	switch status(headers) {
	case "200":
	case "401", "403", "429":
		return nil, calloutUnauthorized
	case "504":
		return nil, calloutTimeout
	default:
		return nil, calloutStatus
	}
	if bodySize <= 0 || bodySize > limit {
		return nil, calloutBody
	}
	body, err := proxywasm.GetHttpCallResponseBody(0, bodySize)
	if err != nil {
		return nil, calloutBody
	}
	return body, calloutAnswered
}

func status(headers [][2]string) string {
	for _, h := range headers {
		if h[0] == ":status" {
			return h[1]
		}
	}
	return ""
}

// newBoot returns 128 random bits in hex. crypto/rand.Read never fails: it ends the VM instead.
func newBoot() string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// unnamedGate stands for a proxy whose bootstrap sets no node id.
const unnamedGate = "gate"

// nodeID returns the proxy's node id, if the protocol takes it. Envoy 1.33 moved node to xds.
func nodeID() string {
	id, err := proxywasm.GetProperty([]string{"xds", "node", "id"})
	if err != nil || len(id) == 0 || len(id) > api.MaxGateLen {
		return unnamedGate
	}
	for _, c := range id {
		if c < 0x21 || c > 0x7e {
			return unnamedGate
		}
	}
	return string(id)
}
