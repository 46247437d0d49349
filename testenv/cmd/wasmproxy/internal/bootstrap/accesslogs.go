package bootstrap

import (
	"errors"
	"fmt"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	filev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/file/v3"
	streamv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/stream/v3"

	"github.com/tollgate/tollgate/testenv/cmd/wasmproxy/internal/accesslog"
)

func (cfg *Config) setAccessLogs(logs []*accesslogv3.AccessLog) error {
	var errs []error
	for i, l := range logs {
		log, err := translateAccessLog(l, fmt.Sprintf("%s.access_log[%d].typed_config", hcmPath, i))
		errs = append(errs, err)
		cfg.AccessLogs = append(cfg.AccessLogs, log)
	}
	return errors.Join(errs...)
}

func translateAccessLog(l *accesslogv3.AccessLog, path string) (AccessLog, error) {
	var out AccessLog
	var format *corev3.SubstitutionFormatString
	stdout, file := new(streamv3.StdoutAccessLog), new(filev3.FileAccessLog)
	switch {
	case l.GetTypedConfig().MessageIs(stdout):
		if err := unpack(l.GetTypedConfig(), stdout, path); err != nil {
			return out, err
		}
		format = stdout.GetLogFormat()
	default:
		if err := unpack(l.GetTypedConfig(), file, path); err != nil {
			return out, err
		}
		out.Path, format = file.GetPath(), file.GetLogFormat()
	}
	text := accesslog.Default
	if format != nil {
		text = format.GetTextFormatSource().GetInlineString()
	}
	var err error
	if out.Format, err = accesslog.Parse(text, len(format.GetFormatters()) > 0); err != nil {
		return out, fmt.Errorf("%s.log_format.text_format_source: %w", path, err)
	}
	return out, nil
}
