package main

import (
	"io"
	"log/slog"
)

// logFlags say how a process logs.
type logFlags struct {
	LogFormat string `env:"TOLLGATE_LOG_FORMAT" default:"text" enum:"text,json" placeholder:"FORMAT" help:"text or json, one record a line (${default})."`
	LogLevel  string `env:"TOLLGATE_LOG_LEVEL" default:"info" enum:"debug,info,warn,error" placeholder:"LEVEL" help:"The least that is logged: debug, info, warn or error; debug has every request of a gate (${default})."`
}

func (f *logFlags) logger(to io.Writer) *slog.Logger {
	var options slog.HandlerOptions
	var level slog.Level
	// Kong has held the text against the four that there are.
	if err := level.UnmarshalText([]byte(f.LogLevel)); err == nil {
		options.Level = level
	}
	if f.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(to, &options))
	}
	return slog.New(slog.NewTextHandler(to, &options))
}
