package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/tollgate/tollgate/controlplane/apikey"
)

// schemesFlag names the schemes in which keys are issued and gates ask.
type schemesFlag struct {
	Schemes string `env:"TOLLGATE_SCHEMES" placeholder:"FILE" help:"A JSON file with the schemes of keys, in the form of the filter's \"schemes\"; without it the published ones, genrex and vexrail."`
}

// maxSchemesFile is beyond what the parser takes, so that it is the one to refuse.
const maxSchemesFile = 2 << 20

// read returns the schemes of the file, or nil if none is named. Its error names every problem of the file
// and repeats no value of it.
func (f *schemesFlag) read() ([]*apikey.Scheme, error) {
	if f.Schemes == "" {
		return nil, nil
	}
	file, err := os.Open(f.Schemes)
	if err != nil {
		return nil, fmt.Errorf("read schemes: %w", err)
	}
	data, err := io.ReadAll(io.LimitReader(file, maxSchemesFile))
	if err := errors.Join(err, file.Close()); err != nil {
		return nil, fmt.Errorf("read schemes: %w", err)
	}
	schemes, err := apikey.ParseSchemes(data)
	if err == nil && len(schemes) == 0 {
		err = errors.New("expected at least one scheme")
	}
	if err != nil {
		return nil, fmt.Errorf("read schemes from %s: %w", f.Schemes, err)
	}
	return schemes, nil
}
