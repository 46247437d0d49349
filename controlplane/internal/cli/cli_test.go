package cli

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/tollgate/tollgate/controlplane/client"
)

// Whatever the client can ask for, some command asks for.
func TestEveryRequestHasACommand(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var sources strings.Builder
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		sources.Write(text)
	}
	of := reflect.TypeFor[*client.Client]()
	for i := range of.NumMethod() {
		if name := of.Method(i).Name; !strings.Contains(sources.String(), "cl."+name+"(") && !strings.Contains(sources.String(), ".client."+name+"(") {
			t.Errorf("no command calls %s", name)
		}
	}
}

func TestCellsAreOneLineAndHarmless(t *testing.T) {
	for text, want := range map[string]string{
		"": "-", "Böse & Söhne": "Böse & Söhne", "a\nb": `"a\nb"`, "\x1b[31m": `"\x1b[31m"`, "\u202eabc": `"\u202eabc"`, "\xff": `"\xff"`,
	} {
		if got := cell(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}
