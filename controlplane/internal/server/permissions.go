package server

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/tollgate/tollgate/controlplane/internal/store"
)

// permission is what an operation asks of its caller's role. Every operation names one where it is registered.
type permission string

// The permissions.
const (
	readAccounts  permission = "accounts.read"
	writeAccounts permission = "accounts.write"
	// closeAccounts is more than writeAccounts: it is final, and takes back what is available.
	closeAccounts permission = "accounts.close"
	readProjects  permission = "projects.read"
	writeProjects permission = "projects.write"
	// writeDomains is for the domain's status, not its name.
	writeDomains permission = "domains.write"
	readKeys     permission = "keys.read"
	writeKeys    permission = "keys.write"
	// updateKeys is for what an admin says of a key, its restriction among it. The token of an account cannot change that
	// of a key; it can make other keys.
	updateKeys permission = "keys.update"
	importKeys permission = "keys.import"
	// explainKeys is for what a gate would decide about a key.
	explainKeys permission = "keys.explain"
	// readCredits is for balances, entries and statements.
	readCredits   permission = "credits.read"
	topUpCredits  permission = "credits.top_up"
	adjustCredits permission = "credits.adjust"
	readUsage     permission = "usage.read"
	readAudit     permission = "audit.read"
	manageTokens  permission = "tokens.manage"
	// readStatus is for how the server is, makeBackups for copies of all that it knows.
	readStatus  permission = "status.read"
	makeBackups permission = "backups.make"
)

// grants says which roles have a permission; the README has the same table. An owner has them all, and a gate none: it
// has a listener of its own. Where an account's token has one, it is for its own account alone: see confined.
var grants = map[permission][]store.Role{
	readAccounts:  {store.RoleOwner, store.RoleOperator, store.RoleBilling, store.RoleViewer},
	writeAccounts: {store.RoleOwner, store.RoleOperator},
	closeAccounts: {store.RoleOwner},
	readProjects:  {store.RoleOwner, store.RoleOperator, store.RoleViewer, store.RoleAccount},
	writeProjects: {store.RoleOwner, store.RoleOperator},
	writeDomains:  {store.RoleOwner, store.RoleOperator},
	readKeys:      {store.RoleOwner, store.RoleOperator, store.RoleViewer, store.RoleAccount},
	updateKeys:    {store.RoleOwner, store.RoleOperator},
	writeKeys:     {store.RoleOwner, store.RoleOperator, store.RoleAccount},
	importKeys:    {store.RoleOwner, store.RoleOperator},
	explainKeys:   {store.RoleOwner, store.RoleOperator, store.RoleViewer},
	readCredits:   {store.RoleOwner, store.RoleOperator, store.RoleBilling, store.RoleViewer, store.RoleAccount},
	topUpCredits:  {store.RoleOwner, store.RoleOperator, store.RoleBilling},
	adjustCredits: {store.RoleOwner, store.RoleBilling},
	readUsage:     {store.RoleOwner, store.RoleOperator, store.RoleBilling, store.RoleViewer, store.RoleAccount},
	readAudit:     {store.RoleOwner, store.RoleOperator, store.RoleViewer},
	manageTokens:  {store.RoleOwner},
	readStatus:    {store.RoleOwner, store.RoleOperator, store.RoleViewer},
	makeBackups:   {store.RoleOwner},
}

// confined is what the input of an operation has to be that account tokens may ask for.
type confined interface {
	// confine makes sure that the request is about this account alone: it narrows lists to it, and returns
	// store.ErrNotFound, as if there were no such thing, where the request names what belongs to another.
	confine(ctx context.Context, s *Server, accountID string) error
}

// require notes what the operation at method and path, with inputs of in's type, asks for. What is wrong with that
// keeps New from returning a server.
func (s *Server) require(may permission, method, path string, in any) {
	name := method + " " + path
	roles, ok := grants[may]
	if !ok {
		s.faults = append(s.faults, fmt.Errorf("register %s: permission %q: expected one of %v: "+
			"name one of permissions.go in the call of handle, or add one there, to grants and to the README's table",
			name, may, slices.Sorted(maps.Keys(grants))))
	}
	if _, ok := in.(confined); slices.Contains(roles, store.RoleAccount) && !ok {
		s.faults = append(s.faults, fmt.Errorf("register %s: account tokens have the permission %s, so %T needs a method confine: "+
			"embed AccountID, ProjectID or KeyID for the path, write one (see confined in permissions.go), "+
			"or name a permission that they have not", name, may, in))
	}
	// gin writes parameters in another way.
	s.rules[method+" "+strings.NewReplacer("{", ":", "}", "").Replace(path)] = roles
}

// allowAdmin lets those pass whose role has the operation's permission. It knows the operation by its route.
func (s *Server) allowAdmin(c *gin.Context, role store.Role) error {
	switch {
	case role == store.RoleGate:
		return errListener
	case slices.Contains(s.rules[c.Request.Method+" "+c.FullPath()], role):
		return nil
	}
	return errRole
}

func allowGate(_ *gin.Context, role store.Role) error {
	if role == store.RoleGate {
		return nil
	}
	return errListener
}

// confine keeps an account's token to its account.
func (s *Server) confine(ctx context.Context, in any) error {
	caller := callerOf(ctx)
	if caller.Role != store.RoleAccount {
		return nil
	}
	// A server without this is never made.
	c, ok := in.(confined)
	if !ok || caller.AccountID == "" {
		return errRole
	}
	return c.confine(ctx, s, caller.AccountID)
}

func (in *AccountID) confine(_ context.Context, _ *Server, accountID string) error {
	return ownAccount(in.ID, accountID)
}

func (in *ProjectID) confine(ctx context.Context, s *Server, accountID string) error {
	return s.ownProject(ctx, in.ID, accountID)
}

func (in *KeyID) confine(ctx context.Context, s *Server, accountID string) error {
	return s.ownKey(ctx, in.ID, accountID)
}

// confineList narrows a list to the account. The ids are those that its query has asked for, empty where it has not.
func (s *Server) confineList(ctx context.Context, accountID string, account *string, project, key string) error {
	var errs []error
	if *account != "" {
		errs = append(errs, ownAccount(*account, accountID))
	}
	if project != "" {
		errs = append(errs, s.ownProject(ctx, project, accountID))
	}
	if key != "" {
		errs = append(errs, s.ownKey(ctx, key, accountID))
	}
	*account = accountID
	return errors.Join(errs...)
}

func ownAccount(id, accountID string) error {
	if id != accountID {
		return fmt.Errorf("another account: %w", store.ErrNotFound)
	}
	return nil
}

// ownProject takes a project's account for its own forever, as the store does.
func (s *Server) ownProject(ctx context.Context, id, accountID string) error {
	p, err := s.store.Project(ctx, id)
	if err != nil {
		return err
	}
	return ownAccount(p.AccountID, accountID)
}

func (s *Server) ownKey(ctx context.Context, id, accountID string) error {
	k, err := s.store.Key(ctx, id)
	if err != nil {
		return err
	}
	return ownAccount(k.AccountID, accountID)
}
