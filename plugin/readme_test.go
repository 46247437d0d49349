//go:build !wasip1

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/tollgate/tollgate/plugin/access"
)

// The README's table of refusals is what API clients are told; it has to say what the filter sends.
func TestREADMEListsEveryRefusal(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	config, err := access.ParseConfig([]byte(testConfig))
	if err != nil {
		t.Fatal(err)
	}
	denials := []*access.Denial{
		config.Check([][2]string{{":path", "//"}}).Denial,
		config.Check([][2]string{{":path", "/nowhere"}}).Denial,
	}
	for _, r := range access.Reasons() {
		if r != access.BadPath && r != access.NoRoute {
			denials = append(denials, config.Schemes[0].Denial(r))
		}
	}
	for _, d := range denials {
		var body struct {
			Error struct{ Code, Message string } `json:"error"`
		}
		if err := json.Unmarshal(d.Body, &body); err != nil {
			t.Fatal(err)
		}
		row := fmt.Sprintf("| %d | `%s` | %s |", d.Status, body.Error.Code, body.Error.Message)
		if !strings.Contains(string(text), row) {
			t.Errorf("README.md has no row %q", row)
		}
	}
}
