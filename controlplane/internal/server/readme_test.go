package server

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// The README's table of codes is what admins' programs are written against: it has every code, each once and with every
// status that it comes with, and no other.
func TestREADMEListsEveryCode(t *testing.T) {
	text, err := os.ReadFile("../../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, ok := strings.Cut(string(text), "| `code` | status | when |\n|---|---|---|\n")
	if !ok {
		t.Fatal("README.md has no table of codes")
	}
	statuses := map[Code]string{}
	for line := range strings.Lines(table) {
		cells := strings.Split(line, "|")
		if len(cells) < 4 {
			break
		}
		for _, m := range regexp.MustCompile("`([a-z_]+)`").FindAllStringSubmatch(cells[1], -1) {
			if statuses[Code(m[1])] != "" {
				t.Errorf("README.md lists the code %s twice", m[1])
			}
			statuses[Code(m[1])] = cells[2]
		}
	}
	known := map[string]bool{}
	for _, code := range Codes() {
		known[code] = true
	}
	for code := range statuses {
		if !known[string(code)] {
			t.Errorf("README.md lists %s, which is no code", code)
		}
	}
	internal := internalProblem()
	refused := append(refusals[:len(refusals):len(refusals)], refusal{status: internal.Status, code: internal.Code})
	for _, r := range refused {
		if !strings.Contains(statuses[r.code], strconv.Itoa(r.status)) {
			t.Errorf("README.md does not list the code %s with the status %d", r.code, r.status)
		}
	}
}
