// Package memory is Redis in memory, for unit tests of handlers in plain Go.
//
//	redis := memory.New()
//	err := redis.Run(func() error { return worker.Handle(job) })
//
// It knows no other jobs, no limits and no passing of time. `sandhog test` runs the component itself.
package memory

import (
	"maps"
	"slices"
	"time"
)

// Redis is what packages kv and queue use in unit tests. Its fields can be read and changed between runs.
type Redis struct {
	Keys map[string]string
	// TTLs are kept, but no key expires.
	TTLs   map[string]time.Duration
	Queues map[string][]string
	// Pushed are entries with a delay or a unique key.
	Pushed []Entry
	// Denied are keys and queues that the grants do not cover.
	Denied map[string]bool
}

// Entry is a job that was pushed with options.
type Entry struct {
	Queue, Payload string
	Delay          time.Duration
	Unique         string
}

// Current is what kv and queue use: the last that New made. Without one, their calls panic.
var Current *Redis

// New makes an empty Redis, which kv and queue use from now on.
func New() *Redis {
	Current = &Redis{
		Keys:   map[string]string{},
		TTLs:   map[string]time.Duration{},
		Queues: map[string][]string{},
		Denied: map[string]bool{},
	}
	return Current
}

// Run calls a handler. If it returns an error, nothing has changed, as in the atomic mode.
func (r *Redis) Run(handle func() error) error {
	before := *r
	before.Keys, before.TTLs, before.Queues = maps.Clone(r.Keys), maps.Clone(r.TTLs), map[string][]string{}
	for name, entries := range r.Queues {
		before.Queues[name] = slices.Clone(entries)
	}
	before.Pushed = slices.Clone(r.Pushed)
	err := handle()
	if err != nil {
		*r = before
	}
	return err
}
