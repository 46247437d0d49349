package cli

import (
	"testing"
	"time"
)

func TestWhen(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"2026-12-31T00:00:00Z": time.Date(2026, 12, 31, 0, 0, 0, 0, time.UTC), "90d": now.AddDate(0, 0, 90), "12h": now.Add(12 * time.Hour),
		"1h30m": now.Add(90 * time.Minute),
	} {
		var f When
		if err := f.UnmarshalText([]byte(text)); err != nil || !f.At(now).Equal(want) {
			t.Errorf("%s: got %v, %v; want %v", text, f.At(now), err, want)
		}
	}
	for _, text := range []string{"", "0d", "-1d", "1.5d", "d", "99999d", "0s", "-1h", "tomorrow", "2026-12-31"} {
		if err := new(When).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
	if at := new(When).At(now); at != nil {
		t.Errorf("no flag: %v", at)
	}
}
