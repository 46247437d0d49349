//go:build race

package testenv

import (
	"fmt"
	"os/exec"
	"sync"
)

// Under the race detector compiling takes ten times as long, minutes for Coraza. The same test binary without it fills the
// cache on disk first; a command would fill another folder, as wazero finds its own version in commands alone.
func init() {
	compileAhead = sync.OnceValue(func() error {
		text, err := exec.Command("go", "test", "-race=false", "-vet=off", "-count=1", "-run=^TestThirdPartyFiltersLoad$", ".").
			CombinedOutput()
		if err != nil {
			return fmt.Errorf("compile filters without the race detector: %w\n%s", err, text)
		}
		return nil
	})
}
