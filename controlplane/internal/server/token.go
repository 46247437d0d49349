package server

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"

	"github.com/tollgate/tollgate/controlplane/apikey"
	"github.com/tollgate/tollgate/controlplane/internal/store"
)

// IssueToken makes a token of the given role, "tg_", the role, "_" and 256 random bits in 43 characters of
// base64url, and records its digest in st. The caller shows the text once; nothing can show it again.
func IssueToken(ctx context.Context, st *store.Store, name string, role store.Role) (apikey.Secret, error) {
	random := make([]byte, 32)
	// crypto/rand.Read never fails: it ends the program instead.
	_, _ = rand.Read(random)
	text := "tg_" + string(role) + "_" + base64.RawURLEncoding.EncodeToString(random)
	if _, err := st.CreateToken(ctx, store.NewToken{Name: name, Role: role, Digest: apikey.DigestOf(text)}); err != nil {
		return "", fmt.Errorf("issue token: %w", err)
	}
	return apikey.Secret(text), nil
}
