package domain

import (
	"os"
	"strings"
	"testing"
)

// The README's table is where an admin finds what to write instead.
func TestREADMEListsEveryRefusalOfAName(t *testing.T) {
	readme := readme(t)
	for _, err := range []error{
		ErrLength, ErrURL, ErrPort, ErrAddress, ErrWildcard, ErrUnicode, ErrSyntax, ErrSingleLabel, ErrSpecialUse, ErrPublicSuffix,
	} {
		if !strings.Contains(readme, "| "+err.Error()+" |") {
			t.Errorf("README.md has no row %q", err)
		}
	}
}

func readme(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// So is the one of what a check can find.
func TestREADMEListsEveryOutcome(t *testing.T) {
	readme := readme(t)
	for _, o := range Outcomes() {
		if row := "| `" + string(o) + "` | " + o.Explain() + " |"; !strings.Contains(readme, row) {
			t.Errorf("README.md has no row %q", row)
		}
	}
}
