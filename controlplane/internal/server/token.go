package server

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"

	"github.com/tollgate/tollgate/controlplane/apikey"
	"github.com/tollgate/tollgate/controlplane/internal/store"
)

// tokenStart is how every token begins.
const tokenStart = "tg_"

// mintToken makes the text of a token of the given role: "tg_", the role, "_" and 256 random bits in 43 characters of
// base64url.
func mintToken(role store.Role) apikey.Secret {
	random := make([]byte, 32)
	// crypto/rand.Read never fails: it ends the program instead.
	_, _ = rand.Read(random)
	return apikey.Secret(tokenStart + string(role) + "_" + base64.RawURLEncoding.EncodeToString(random))
}

// IssueToken makes a token and records it in st, with a digest of its own. The caller shows the text once; nothing can
// show it again.
func IssueToken(ctx context.Context, st *store.Store, in store.NewToken) (apikey.Secret, error) {
	text := mintToken(in.Role)
	in.Digest = apikey.DigestOf(text.Reveal())
	if _, _, err := st.CreateToken(ctx, in, nil); err != nil {
		return "", fmt.Errorf("issue token: %w", err)
	}
	return text, nil
}
