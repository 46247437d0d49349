package main

import (
	"context"
	"errors"
	"time"

	"github.com/tollgate/tollgate/controlplane/internal/store"
)

// usageFlags say how long usage is kept by the hour.
type usageFlags struct {
	UsageDays int `env:"TOLLGATE_USAGE_DAYS" default:"90" placeholder:"N" help:"For how many days usage is kept by hour and by conversation, 1 to 36500; then it is kept by day (${default})."`
}

// Validate is called by kong.
func (f *usageFlags) Validate() error {
	if f.UsageDays < 1 || f.UsageDays > 36500 {
		return errors.New("--usage-days: expected 1 to 36500")
	}
	return nil
}

func (f *usageFlags) keep() time.Duration { return time.Duration(f.UsageDays) * 24 * time.Hour }

// foldUsage goes on as long as there is more to fold; between two steps others may write.
func foldUsage(ctx context.Context, st *store.Store, keep time.Duration) error {
	for {
		if more, err := st.FoldUsage(ctx, keep); err != nil || !more {
			return err
		}
	}
}
