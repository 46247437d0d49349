package domain

import (
	"errors"
	"testing"
)

// Programs that go test did not build cannot relax a rule, whatever they put into Options.
func TestNoTestNetworkInProduction(t *testing.T) {
	inTest = func() bool { return false }
	defer func() { inTest = testing.Testing }()
	for _, test := range []*TestNetwork{{}, {HTTPPort: 8080}} {
		if v, err := New(Options{Test: test}); v != nil || !errors.Is(err, ErrTestOnly) {
			t.Errorf("got %v, %v", v, err)
		}
	}
	if _, err := New(Options{}); err != nil {
		t.Error(err)
	}
}
