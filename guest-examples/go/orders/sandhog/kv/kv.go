// Package kv is Redis' strings, with Go's errors. What each call does and decides is in wit/kv.wit.
//
// Every error is a sandhog.Refused. In unit tests, which are not WebAssembly, the calls use package memory.
package kv

import "time"

// Condition is when a write takes place.
type Condition int

const (
	// Always: whatever the key holds.
	Always Condition = iota
	// IfAbsent: only if there is no such key.
	IfAbsent
	// IfPresent: only if the key is there.
	IfPresent
)

// Options is how to set a key; the zero value sets it always, and for ever.
type Options struct {
	// TTL is the time to live; 0 keeps the key for ever.
	TTL       time.Duration
	Condition Condition
}

// Page is one page of a key listing.
type Page struct {
	// Keys are some keys, in no order; there may be none before the last page.
	Keys []string
	// Cursor is what to pass for the next page; empty on the last one.
	Cursor string
}
