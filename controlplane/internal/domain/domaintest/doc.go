// Package domaintest is an internet of one machine for tests of domain verification: a name server, a web server and
// one that speaks TLS, all on loopback ports and all real.
package domaintest
