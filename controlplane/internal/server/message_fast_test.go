package server

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/tollgate/tollgate/controlplane/api"
	"github.com/tollgate/tollgate/controlplane/apikey"
)

// Whatever is read in one pass is also read in the three that can say what is wrong, and as the same request.
func FuzzParseAcquire(f *testing.F) {
	good := api.AcquireRequest{
		Gate: "edge-1", Boot: "b1", OpID: "b1-op", Scheme: "genrex", Digests: []string{apikey.DigestOf("x").Hex()}, Cost: 1, Want: 1,
		Mode: api.ModeStrict,
	}
	text := string(good.AppendJSON(nil))
	if got, ok := parseAcquire([]byte(text)); !ok || !cmp.Equal(*got, good) {
		f.Fatalf("a good message is not read in one pass: %+v", got)
	}
	for _, seed := range []string{text, " " + text + "\r\n", text + text, text[1:], text[:len(text)-1] + `,"x":{}}`, "null", ""} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		got, ok := parseAcquire(body)
		if !ok {
			return
		}
		want, err := parseMessage[api.AcquireRequest](body)
		if err != nil {
			t.Fatalf("read in one pass, but %v", err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatal(diff)
		}
	})
}
