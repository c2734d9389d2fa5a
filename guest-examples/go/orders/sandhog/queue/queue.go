// Package queue is Redis' lists as queues, with Go's errors. What each call does and decides is in wit/queue.wit.
//
// Every error is a sandhog.Refused. In unit tests, which are not WebAssembly, the calls use package memory.
package queue

import "time"

// End is an end of a queue.
type End int

const (
	// Back is the right end, where plain producers push.
	Back End = iota
	// Front is the left end, where a worker takes with `order = "fifo"`.
	Front
)

// Options is where, when and whether to push; the zero value pushes to the back.
type Options struct {
	// End has no effect on an entry with a delay or a unique key.
	End   End
	Delay time.Duration
	// UniqueKey, if it is not empty, refuses a second entry of the same key while the first is alive, for UniqueTTL at most.
	UniqueKey string
	UniqueTTL time.Duration
}

// Outcome is what became of a push: one of its fields is set.
type Outcome struct {
	// Waiting is the number of entries in the list after the push.
	Waiting uint64
	// Delayed is the id of a job that can be claimed later.
	Delayed string
	// Duplicate: not pushed, an entry with the same unique key is alive.
	Duplicate bool
}
