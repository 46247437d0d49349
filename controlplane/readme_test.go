package main

import (
	"io"
	"os"
	"slices"
	"strings"
	"testing"
)

// The README's tables are where an operator looks for a flag of the server, its default and a command.
func TestREADMEListsEveryFlagOfServeAndEveryCommand(t *testing.T) {
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := strings.Split(string(text), "\n")
	has := func(starts string, holds ...string) bool {
		return slices.ContainsFunc(rows, func(row string) bool {
			return strings.HasPrefix(row, starts) && !slices.ContainsFunc(holds, func(s string) bool { return !strings.Contains(row, s) })
		})
	}
	parser, err := newParser(io.Discard, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	for _, command := range parser.Model.Leaves(true) {
		noun, verb := command.Parent.Name, command.Name
		switch {
		case verb == "serve":
			for _, flag := range command.Flags {
				row, value := "| `--"+flag.Name+"` |", flag.Default
				if flag.Tag.Negatable != "" {
					row, value = "| `--no-"+flag.Name+"` |", ""
				}
				if !has(row, value) {
					t.Errorf("README.md has no row %s … of serve with the default %q", row, value)
				}
			}
		case verb == "completion":
		case noun == parser.Model.Name:
			if !has("| `tollgate "+verb) && !has("| `"+verb+"` |") {
				t.Errorf("README.md has no row of tollgate %s", verb)
			}
		case !has("| `"+noun+"`", "`"+verb+"`"):
			t.Errorf("README.md has no row of %s with the verb %s", noun, verb)
		}
	}
}
