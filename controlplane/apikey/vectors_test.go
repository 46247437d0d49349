package apikey_test

import (
	"bytes"
	"encoding/json"
	"os"
	"slices"
	"strconv"
	"testing"

	"github.com/tollgate/tollgate/controlplane/apikey"
)

// elsewhere are the rules that no single request can show, and where they are held instead.
var elsewhere = map[int]string{
	26: "the control plane is unreachable: plugin/failure_test.go and plugin/kill_test.go",
	27: "a bug in the filter: plugin/failure_test.go",
}

// The table is the one place where request vectors stand; whoever runs it relies on these properties.
func TestVectorsCoverEveryRule(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var table struct {
		About   []string
		Vectors []struct{ Name, Rule, Scheme string }
	}
	if err := json.NewDecoder(bytes.NewReader(text)).Decode(&table); err != nil {
		t.Fatal(err)
	}
	var schemes []string
	for _, s := range apikey.Presets() {
		schemes = append(schemes, s.Name)
	}
	names, rules := map[string]bool{}, map[string]int{}
	for _, v := range table.Vectors {
		if names[v.Name] {
			t.Errorf("two vectors are named %q", v.Name)
		}
		if !slices.Contains(schemes, v.Scheme) {
			t.Errorf("%s: no preset is named %q", v.Name, v.Scheme)
		}
		names[v.Name] = true
		rules[v.Rule]++
	}
	for rule := 1; rule <= 27; rule++ {
		if why, ok := elsewhere[rule]; rules[strconv.Itoa(rule)] == 0 != ok {
			t.Errorf("rule %d has %d vectors (elsewhere: %q)", rule, rules[strconv.Itoa(rule)], why)
		}
	}
}
