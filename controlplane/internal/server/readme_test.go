package server

import (
	"os"
	"strings"
	"testing"
)

// The README's table of codes is what admins' programs are written against.
func TestREADMEListsEveryCode(t *testing.T) {
	text, err := os.ReadFile("../../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	readme := string(text)
	codes := []Code{codeInternal}
	for _, r := range refusals {
		codes = append(codes, r.code)
	}
	for _, code := range codes {
		if !strings.Contains(readme, "`"+string(code)+"`") {
			t.Errorf("README.md does not list the code %s", code)
		}
	}
}
