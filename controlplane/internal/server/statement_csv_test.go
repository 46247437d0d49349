package server

import "testing"

func TestDefused(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "gift": "gift", "a=1": "a=1", "a; b": "a; b", "=1": "'=1", "-1": "'-1", " \u2003@x": "' \u2003@x", "\u200b\ufeff+1": "'\u200b\ufeff+1",
		"﹦1": "'﹦1", "gift;=1": "gift;'=1", ";;|x": ";;'|x", "=1;=2": "'=1;'=2",
	} {
		if got := defused(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func TestAcceptsCSV(t *testing.T) {
	for accept, want := range map[string]bool{
		"text/csv": true, "text/html, text/csv;q=0.1": true, "text/csv;q=0": false, "text/csv;q=0.000": false, "text/csv, application/json;q=0.1": false,
		"*/*": false, "": false,
	} {
		if got := acceptsCSV([]string{accept}); got != want {
			t.Errorf("%q: got %v", accept, got)
		}
	}
}
