//go:build !wasip1

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/tollgate/tollgate/controlplane/apikey"
	"github.com/tollgate/tollgate/plugin/access"
	"github.com/tollgate/tollgate/testenv"
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
		decide(config, [][2]string{{":path", "//"}}).Denial,
		decide(config, [][2]string{{":path", "/nowhere"}}).Denial,
	}
	for _, r := range apikey.Reasons {
		if r != apikey.KeyPairMismatch && r != apikey.DomainNotVerified {
			denials = append(denials, config.Schemes[0].Denial(r))
		}
		denials = append(denials, config.Schemes[1].Denial(r))
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

// The README's own example of a scheme has to be one.
func TestREADMESchemeParses(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(text), "```json\n")
	example, _, closed := strings.Cut(rest, "```")
	if !ok || !closed {
		t.Fatal("README.md has no json block")
	}
	schemes, err := apikey.ParseSchemes([]byte(example))
	if err != nil || len(schemes) != 1 {
		t.Fatalf("%d schemes, %v", len(schemes), err)
	}
	if _, err := schemes[0].Secret.Generate(); err != nil {
		t.Error(err)
	}
}

// An operator looks a stat up in the README's table.
func TestREADMEListsEveryStat(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	for _, m := range regexp.MustCompile("`(tollgate\\.[a-z._]+)(REASON|{[a-z_,]+})?`").FindAllStringSubmatch(string(text), -1) {
		switch {
		case m[2] == "REASON":
			for _, r := range access.Reasons() {
				listed[m[1]+string(r)] = true
			}
		case m[2] != "":
			for name := range strings.SplitSeq(strings.Trim(m[2], "{}"), ",") {
				listed[m[1]+name] = true
			}
		default:
			listed[m[1]] = true
		}
	}
	g := newGate(t, testenv.Options{}, nil)
	for _, stat := range g.Metrics().Snapshot() {
		if strings.HasPrefix(stat.Name, "tollgate.") && !listed[stat.Name] {
			t.Errorf("README.md does not list %s", stat.Name)
		}
		delete(listed, stat.Name)
	}
	for name := range listed {
		t.Errorf("README.md lists %s, which the filter does not have", name)
	}
}

// A row of the README that names a test is only as good as the test is there.
func TestREADMENamesTestsThatExist(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	var source strings.Builder
	for _, file := range files {
		code, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		source.Write(code)
	}
	named := regexp.MustCompile("`(Test[A-Za-z]+)`").FindAllStringSubmatch(string(text), -1)
	if len(named) < 10 {
		t.Errorf("README.md names %d tests, want the contract tables' to be found", len(named))
	}
	for _, m := range named {
		if !strings.Contains(source.String(), "func "+m[1]+"(t *testing.T)") {
			t.Errorf("README.md names %s, which is not in this folder", m[1])
		}
	}
}
