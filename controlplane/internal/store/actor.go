package store

import (
	"context"
	"errors"
)

// ErrNoActor means that a change was asked for whose context names nobody who makes it. It is a fault of the caller.
var ErrNoActor = errors.New("nobody is named who makes this change: see store.WithActor")

// Actor is who makes a change, as the audit log names them.
type Actor struct {
	// ID is a token's, or one of those below.
	ID   string
	Name string
	// Role is the token's role; empty where there is no token.
	Role Role
	// RequestID is the X-Request-Id of the request; empty where there was none.
	RequestID string
}

// LocalActor is whoever runs a command on the database itself.
var LocalActor = Actor{ID: "local", Name: "local"}

// JobActor is one of the program's own jobs, by its name.
func JobActor(name string) Actor { return Actor{ID: "job", Name: name} }

type actorKey struct{}

// WithActor returns a context in which every change is a's.
func WithActor(ctx context.Context, a Actor) context.Context {
	return context.WithValue(ctx, actorKey{}, a)
}

// actorOf returns the context's actor, and other where it has none.
func actorOf(ctx context.Context, other Actor) Actor {
	if a, ok := ctx.Value(actorKey{}).(Actor); ok {
		return a
	}
	return other
}
