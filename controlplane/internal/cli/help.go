package cli

import (
	"strings"

	"github.com/alecthomas/kong"
)

// Examples puts the examples that commands have in their tags at the end of their help.
func Examples(k *kong.Kong) error {
	return kong.Visit(k.Model, func(v kong.Visitable, next kong.Next) error {
		if n, ok := v.(*kong.Node); ok && n.Tag != nil && n.Tag.Has("example") {
			n.Detail = strings.TrimSpace(n.Detail + "\n\nExample:\n\n\t" + n.Tag.Get("example"))
		}
		return next(nil)
	})
}
