// Package domain decides whether somebody holds a domain: which names can be proved at all, what has to be put where,
// and what is found when it is looked for. It keeps nothing and knows no database.
//
// # Why so many rules for a look at a file?
//
// Whoever names a domain makes this machine send requests to wherever that domain points, and chooses what its answers
// are. The machine stands inside the operator's network. So names are looked up at resolvers of the operator's choice,
// never in the hosts file; an address is judged when it is connected to, not when its name was looked up; and of what
// was fetched nothing leaves this package but whether it was the token.
package domain
