package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/tollgate/tollgate/controlplane/internal/store"
)

// barWidth is how many characters a full bar has, drawEvery how often it is drawn at most.
const (
	barWidth  = 30
	drawEvery = 100 * time.Millisecond
)

// bar shows on a terminal how far a long work has come, and nothing anywhere else.
type bar struct {
	to    *os.File
	drawn time.Time
	wide  int
}

// newBar draws on to if that is a terminal.
func newBar(to *os.File) *bar {
	info, err := to.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		to = nil
	}
	return &bar{to: to}
}

// show is a store.Progress.
func (b *bar) show(step string, done, total int64) {
	if b.to == nil || done < total && time.Since(b.drawn) < drawEvery {
		return
	}
	b.drawn = time.Now()
	line := drawBar(step, done, total)
	fmt.Fprintf(b.to, "\r%-*s", b.wide, line)
	b.wide = len(line)
}

var _ store.Progress = (*bar)(nil).show

func drawBar(step string, done, total int64) string {
	full := int64(barWidth)
	if total > 0 {
		full = min(max(0, done), total) * barWidth / total
	}
	return fmt.Sprintf("%-8s [%s%s] %3d%%", step, strings.Repeat("#", int(full)), strings.Repeat(".", int(barWidth-full)), full*100/barWidth)
}

// end removes the bar.
func (b *bar) end() {
	if b.to != nil && b.wide > 0 {
		fmt.Fprintf(b.to, "\r%*s\r", b.wide, "")
	}
}

// shownBar is a bar for package cli.
type shownBar struct{ *bar }

// Show is of cli.Bar.
func (b shownBar) Show(step string, done, total int64) { b.show(step, done, total) }

// End is of cli.Bar.
func (b shownBar) End() { b.end() }
