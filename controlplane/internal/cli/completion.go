package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// Completion prints what makes a shell complete the words of the command.
type Completion struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

// Help is shown by kong.
func (*Completion) Help() string {
	return `The script is made of this program's own commands and flags: print it anew for a newer one.

	source <(tollgate completion bash)        # in ~/.bashrc
	source <(tollgate completion zsh)         # in ~/.zshrc, after compinit
	tollgate completion fish | source         # in ~/.config/fish/config.fish`
}

// Run is called by kong.
func (c *Completion) Run(s *Streams, k *kong.Context) error {
	places := placesOf(k.Model.Node)
	var script strings.Builder
	switch c.Shell {
	case "zsh":
		script.WriteString("autoload -U +X bashcompinit && bashcompinit\n")
		fallthrough
	case "bash":
		bashScript(&script, places)
	case "fish":
		fishScript(&script, places)
	}
	if _, err := io.WriteString(s.Out, script.String()); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return nil
}

// place is a command and what may follow it.
type place struct {
	// path is the command's words without the program's name.
	path  string
	words []word
}

type word struct {
	text, help string
	// values are those of a flag or, without text, of an argument.
	values []string
	// file means that the value of the flag is a file.
	file bool
}

// placesOf are all commands that are shown, from the program itself on.
func placesOf(root *kong.Node) []place {
	var places []place
	var walk func(n *kong.Node, path string)
	walk = func(n *kong.Node, path string) {
		p := place{path: path}
		for _, child := range n.Children {
			if !child.Hidden {
				p.words = append(p.words, word{text: child.Name, help: child.Help})
			}
		}
		for _, arg := range n.Positional {
			if arg.Enum != "" {
				p.words = append(p.words, word{values: arg.EnumSlice()})
			}
		}
		for _, group := range n.AllFlags(true) {
			for _, f := range group {
				p.words = append(p.words, flagWord(f))
			}
		}
		places = append(places, p)
		for _, child := range n.Children {
			if !child.Hidden {
				walk(child, strings.TrimSpace(path+" "+child.Name))
			}
		}
	}
	walk(root, "")
	return places
}

func flagWord(f *kong.Flag) word {
	w := word{text: "--" + f.Name, help: f.Help, file: slices.Contains([]string{"FILE", "DIR"}, f.PlaceHolder)}
	if f.Enum != "" {
		w.values = slices.DeleteFunc(f.EnumSlice(), func(v string) bool { return v == "" })
	}
	return w
}

// quoted is text for every shell here. No name of ours has a quote; a help text that has loses it.
func quoted(text string) string {
	return "'" + strings.NewReplacer("'", "’", `\`, "").Replace(text) + "'"
}

const bashEnd = `_tollgate() {
  local i next path="" last=${COMP_WORDS[COMP_CWORD-1]} now=${COMP_WORDS[COMP_CWORD]} values
  for ((i = 1; i < COMP_CWORD; i++)); do
    next="${path:+$path }${COMP_WORDS[i]}"
    [ -z "$(_tollgate_words "$next")" ] || path=$next
  done
  COMPREPLY=()
  [ "$last" != = ] || last=${COMP_WORDS[COMP_CWORD-2]}
  [ "$now" != = ] || { last=${COMP_WORDS[COMP_CWORD-1]}; now=; }
  values=$(_tollgate_values "$path $last")
  case "$values" in
    "") COMPREPLY=($(compgen -W "$(_tollgate_words "$path")" -- "$now")) ;;
    -) ;; # a file: the shell's own
    *) COMPREPLY=($(compgen -W "$values" -- "$now")) ;;
  esac
}
complete -o default -F _tollgate tollgate
`

func bashScript(b *strings.Builder, places []place) {
	b.WriteString("_tollgate_words() {\n  case \"$1\" in\n")
	for _, p := range places {
		var words []string
		for _, w := range p.words {
			if w.text == "" {
				words = append(words, w.values...)
			} else {
				words = append(words, w.text)
			}
		}
		fmt.Fprintf(b, "    %s) echo %s ;;\n", quoted(p.path), quoted(strings.Join(words, " ")))
	}
	b.WriteString("  esac\n}\n_tollgate_values() {\n  case \"$1\" in\n")
	for _, p := range places {
		for _, w := range p.words {
			switch {
			case w.text != "" && w.values != nil:
				fmt.Fprintf(b, "    %s) echo %s ;;\n", quoted(p.path+" "+w.text), quoted(strings.Join(w.values, " ")))
			case w.file:
				fmt.Fprintf(b, "    %s) echo - ;;\n", quoted(p.path+" "+w.text))
			}
		}
	}
	b.WriteString("  esac\n}\n")
	b.WriteString(bashEnd)
}

// fishScript completes by conditions on the place, which __tollgate_at finds out.
func fishScript(b *strings.Builder, places []place) {
	b.WriteString("function __tollgate_at\n  set -l path tollgate\n  for word in (commandline -opc)[2..-1]\n    switch \"$path $word\"\n      case")
	for _, p := range places[1:] {
		fmt.Fprintf(b, " %s", quoted("tollgate "+p.path))
	}
	b.WriteString("\n        set path \"$path $word\"\n    end\n  end\n  test \"$path\" = \"$argv[1]\"\nend\ncomplete -c tollgate -f\n")
	for _, p := range places {
		at := quoted("__tollgate_at \"" + strings.TrimSpace("tollgate "+p.path) + "\"")
		for _, w := range p.words {
			name, isFlag := strings.CutPrefix(w.text, "--")
			switch {
			case w.text == "":
				fmt.Fprintf(b, "complete -c tollgate -n %s -a %s\n", at, quoted(strings.Join(w.values, " ")))
			case !isFlag:
				fmt.Fprintf(b, "complete -c tollgate -n %s -a %s -d %s\n", at, w.text, quoted(w.help))
			case w.values != nil:
				fmt.Fprintf(b, "complete -c tollgate -n %s -l %s -d %s -x -a %s\n", at, name, quoted(w.help), quoted(strings.Join(w.values, " ")))
			case w.file:
				fmt.Fprintf(b, "complete -c tollgate -n %s -l %s -d %s -r -F\n", at, name, quoted(w.help))
			default:
				fmt.Fprintf(b, "complete -c tollgate -n %s -l %s -d %s\n", at, name, quoted(w.help))
			}
		}
	}
}
