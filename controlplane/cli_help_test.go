package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// commandsOf are all commands of the parser, by their words.
func commandsOf(parser *kong.Kong) map[string]*kong.Node {
	all := map[string]*kong.Node{}
	var walk func(n *kong.Node, path string)
	walk = func(n *kong.Node, path string) {
		all[path] = n
		for _, child := range n.Children {
			walk(child, strings.TrimSpace(path+" "+child.Name))
		}
	}
	walk(parser.Model.Node, "")
	return all
}

func mustParser(t *testing.T) *kong.Kong {
	t.Helper()
	parser, err := newParser(new(bytes.Buffer), new(bytes.Buffer))
	if err != nil {
		t.Fatal(err)
	}
	return parser
}

var example = regexp.MustCompile(`(?s)Examples?:\n\n((?:    [^\n]+\n?|\n)+)`)

// Every --help has an example, which is a command line that this program takes.
func TestEveryHelpHasAnExample(t *testing.T) {
	type ended int
	parser := mustParser(t)
	parser.Exit = func(code int) { panic(ended(code)) }
	all := commandsOf(parser)
	for path := range all {
		var help bytes.Buffer
		parser.Stdout = &help
		func() {
			defer func() {
				if code := recover(); code != ended(0) {
					t.Errorf("%q --help ends with %v", path, code)
				}
			}()
			_, _ = parser.Parse(append(strings.Fields(path), "--help"))
		}()
		if !example.Match(help.Bytes()) {
			t.Errorf("%q --help has no example:\n%s", path, help.String())
		}
	}
	if len(all) < 50 {
		t.Errorf("only %d commands", len(all))
	}
	for path, n := range all {
		if n.Tag == nil || !n.Tag.Has("example") {
			continue
		}
		for line := range strings.SplitSeq(n.Tag.Get("example"), " && ") {
			line, _, _ = strings.Cut(line, " > ")
			line = strings.TrimSuffix(strings.TrimPrefix(line, "source <("), ")")
			// What one line says is not left over for the next: each has a parser of its own.
			if _, err := mustParser(t).Parse(words(line)[1:]); err != nil {
				t.Errorf("%q: example %q: %v", path, line, err)
			}
		}
	}
}

var quotedOrNot = regexp.MustCompile(`'[^']*'|\S+`)

// words splits a command line in which whole words may be in quotes.
func words(line string) []string {
	all := quotedOrNot.FindAllString(line, -1)
	for i := range all {
		all[i] = strings.Trim(all[i], "'")
	}
	return all
}

func TestCompletion(t *testing.T) {
	all := commandsOf(mustParser(t))
	for _, shell := range []string{"bash", "zsh", "fish"} {
		script := do("completion", shell)
		for path, n := range all {
			if script.code != 0 || !strings.Contains(script.stdout, path) {
				t.Errorf("%s: exit code %d, no %q", shell, script.code, path)
			}
			for _, f := range n.Flags {
				if !f.Hidden && !strings.Contains(script.stdout, f.Name) {
					t.Errorf("%s: no flag --%s", shell, f.Name)
				}
			}
		}
	}
	file := filepath.Join(t.TempDir(), "completion")
	if err := os.WriteFile(file, []byte(do("completion", "bash").stdout), 0o600); err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string]string{
		"tollgate acc":                          "account",
		"tollgate account cl":                   "close",
		"tollgate account close --bal":          "--balance",
		"tollgate account close x --balance ":   "refuse write_off",
		"tollgate account close --balance = wr": "write_off",
		"tollgate --he":                         "--help",
		"tollgate completion f":                 "fish",
		"tollgate token create --role view":     "viewer",
		"tollgate serve --db ":                  "",
	} {
		script := `source "$1"; IFS=' ' read -ra COMP_WORDS <<<"$2"; [ "${2% }" = "$2" ] || COMP_WORDS+=(""); COMP_CWORD=$((${#COMP_WORDS[@]}-1)); _tollgate; printf '%s\n' "${COMPREPLY[@]}" | sort | tr '\n' ' '`
		out, err := exec.Command("bash", "-c", script, "bash", file, line).CombinedOutput()
		if got := strings.TrimSpace(string(out)); err != nil || got != want {
			t.Errorf("%q: got %q, %v; want %q", line, got, err, want)
		}
	}
}
