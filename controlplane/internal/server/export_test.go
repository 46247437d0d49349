package server

import (
	"os"
	"strings"
	"testing"
)

// readmeRoles are the roles of the columns of the README's table of permissions.
var readmeRoles = []string{"owner", "operator", "billing", "viewer", "account"}

// READMEPermissions reads the README's table of permissions: to each the roles that have it, in the order of its columns.
func READMEPermissions(t *testing.T) map[string][]string {
	t.Helper()
	text, err := os.ReadFile("../../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, ok := strings.Cut(string(text), "| permission | for | "+strings.Join(readmeRoles, " | ")+" |\n|---|---|---|---|---|---|---|\n")
	if !ok {
		t.Fatal("README.md has no table of permissions")
	}
	permissions := map[string][]string{}
	for line := range strings.Lines(table) {
		cells := strings.Split(strings.TrimSuffix(strings.TrimPrefix(line, "|"), "|\n"), "|")
		if len(cells) != 2+len(readmeRoles) {
			break
		}
		name := strings.Trim(cells[0], " `")
		permissions[name] = nil
		for i, role := range readmeRoles {
			want := "yes"
			if role == "account" {
				want = "own"
			}
			switch strings.TrimSpace(cells[2+i]) {
			case want:
				permissions[name] = append(permissions[name], role)
			case "":
			default:
				t.Errorf("README.md: %s of %s: got %q", name, role, cells[2+i])
			}
		}
	}
	return permissions
}

// Codes are those that an error can have.
func Codes() []string {
	codes := []string{string(codeInternal)}
	for _, r := range refusals {
		codes = append(codes, string(r.code))
	}
	return codes
}
