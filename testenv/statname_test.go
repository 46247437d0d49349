package testenv_test

import (
	"testing"

	"github.com/tollgate/tollgate/testenv"
)

func TestStatNames(t *testing.T) {
	t.Parallel()
	tests := []struct{ metric, stat, prometheus string }{
		{"tollgate.requests", "wasmcustom.tollgate.requests", "tollgate_requests"},
		{"Already_fine_9", "wasmcustom.Already_fine_9", "Already_fine_9"},
		{"a:b-c/d", "wasmcustom.a:b-c/d", "a_b_c_d"},
		{"ü", "wasmcustom.ü", "__"}, // a byte each
		{".", "wasmcustom..", "_"},
		{"9lives", "wasmcustom.9lives", ""},
		{"", "wasmcustom.", ""},
		{"wasm.guest.vm_reload_success", "wasmcustom.wasm.guest.vm_reload_success", "wasm_guest_vm_reload_success"},
	}
	for _, tt := range tests {
		t.Run(tt.metric, func(t *testing.T) {
			t.Parallel()
			if got := testenv.StatName(tt.metric); got != tt.stat {
				t.Errorf("StatName = %q, want %q", got, tt.stat)
			}
			if got := testenv.PrometheusName(tt.metric); got != tt.prometheus {
				t.Errorf("PrometheusName = %q, want %q", got, tt.prometheus)
			}
			m := testenv.Metric{Name: tt.metric}
			if m.StatName() != tt.stat || m.PrometheusName() != tt.prometheus {
				t.Errorf("of a Metric: %q, %q", m.StatName(), m.PrometheusName())
			}
		})
	}
}

// What the host counts has no namespace of its own, and Envoy's prefix in Prometheus.
func TestStatNamesOfTheHost(t *testing.T) {
	t.Parallel()
	m := testenv.Metric{Name: "wasm.my-plugin.vm_reload_success", Host: true}
	if got := m.StatName(); got != "wasm.my-plugin.vm_reload_success" {
		t.Errorf("StatName = %q", got)
	}
	if got := m.PrometheusName(); got != "envoy_wasm_my_plugin_vm_reload_success" {
		t.Errorf("PrometheusName = %q", got)
	}
}
