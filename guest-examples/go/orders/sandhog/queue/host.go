//go:build wasip1

package queue

import (
	bindings "guest/bindings/sandhog_worker_queue"
	"guest/sandhog"

	witTypes "go.bytecodealliance.org/pkg/wit/types"
)

// Push pushes payload to the back; returns the number of entries waiting then.
func Push(queue string, payload []byte) (uint64, error) {
	return sandhog.Check(bindings.Push(queue, payload))
}

// PushMany pushes up to 1,000 entries to the back, in order, as one step; returns the number waiting.
func PushMany(queue string, payloads [][]byte) (uint64, error) {
	return sandhog.Check(bindings.PushMany(queue, payloads))
}

// PushWith pushes with options.
func PushWith(queue string, payload []byte, options Options) (Outcome, error) {
	how := bindings.PushOptions{
		End:     end(options.End),
		DelayMs: witTypes.None[uint64](),
		Unique:  witTypes.None[bindings.Uniqueness](),
	}
	if options.Delay != 0 {
		how.DelayMs = witTypes.Some(uint64(options.Delay.Milliseconds()))
	}
	if options.UniqueKey != "" {
		ttl := uint64(options.UniqueTTL.Milliseconds())
		how.Unique = witTypes.Some(bindings.Uniqueness{Key: options.UniqueKey, TtlMs: ttl})
	}
	outcome, err := sandhog.Check(bindings.PushWith(queue, payload, how))
	if err != nil {
		return Outcome{}, err
	}
	switch outcome.Tag() {
	case bindings.PushOutcomePushed:
		return Outcome{Waiting: outcome.Pushed()}, nil
	case bindings.PushOutcomeDelayed:
		return Outcome{Delayed: outcome.Delayed()}, nil
	default:
		return Outcome{Duplicate: true}, nil
	}
}

// Pop takes one entry; nil if the queue is empty.
func Pop(queue string, from End) ([]byte, error) {
	entry, err := sandhog.Check(bindings.Pop(queue, end(from)))
	if err != nil || entry.IsNone() {
		return nil, err
	}
	return append([]byte{}, entry.Some()...), nil
}

// Length returns the number of entries waiting in the queue.
func Length(queue string) (uint64, error) { return sandhog.Check(bindings.Length(queue)) }

// Peek returns up to count entries (at most 1,000) from the front, and leaves them where they are.
func Peek(queue string, count uint32) ([][]byte, error) {
	return sandhog.Check(bindings.Peek(queue, count))
}

func end(end End) bindings.End {
	if end == Front {
		return bindings.EndFront
	}
	return bindings.EndBack
}
