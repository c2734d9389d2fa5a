//go:build wasip1

package kv

import (
	"time"

	bindings "guest/bindings/sandhog_worker_kv"
	"guest/sandhog"

	witTypes "go.bytecodealliance.org/pkg/wit/types"
)

// Get returns the value of key; nil if there is no such key.
func Get(key string) ([]byte, error) {
	value, err := sandhog.Check(bindings.Get(key))
	return held(value), err
}

// GetMany returns the values of up to 1,000 keys, in their order, in one round trip; nil for a key that is absent.
func GetMany(keys []string) ([][]byte, error) {
	answer, err := sandhog.Check(bindings.GetMany(keys))
	values := make([][]byte, len(answer))
	for nth, value := range answer {
		values[nth] = held(value)
	}
	return values, err
}

// Set sets key to value, without expiry, whatever it held.
func Set(key string, value []byte) error {
	_, err := sandhog.Check(bindings.Set(key, value))
	return err
}

// SetWith sets key if the condition of options holds; returns whether it did.
func SetWith(key string, value []byte, options Options) (bool, error) {
	how := bindings.SetOptions{TtlMs: witTypes.None[uint64](), Condition: bindings.ConditionAlways}
	if options.TTL != 0 {
		how.TtlMs = witTypes.Some(uint64(options.TTL.Milliseconds()))
	}
	switch options.Condition {
	case IfAbsent:
		how.Condition = bindings.ConditionIfAbsent
	case IfPresent:
		how.Condition = bindings.ConditionIfPresent
	}
	return sandhog.Check(bindings.SetWith(key, value, how))
}

// SetMany sets up to 1,000 keys in one round trip, as one step.
func SetMany(values map[string][]byte) error {
	entries := make([]witTypes.Tuple2[string, []byte], 0, len(values))
	for key, value := range values {
		entries = append(entries, witTypes.Tuple2[string, []byte]{F0: key, F1: value})
	}
	_, err := sandhog.Check(bindings.SetMany(entries))
	return err
}

// Delete deletes key, whatever it held; returns whether it was there.
func Delete(key string) (bool, error) { return sandhog.Check(bindings.Delete(key)) }

// Exists returns whether there is such a key, of any type.
func Exists(key string) (bool, error) { return sandhog.Check(bindings.Exists(key)) }

// Add adds delta to the number at key; never conflicts with other jobs.
func Add(key string, delta int64) error {
	_, err := sandhog.Check(bindings.Add(key, delta))
	return err
}

// Increment is as Add, and returns the new value.
func Increment(key string, delta int64) (int64, error) {
	return sandhog.Check(bindings.Increment(key, delta))
}

// CompareAndSwap replaces the value if it is still expected (nil: absent); a replacement of nil deletes. Returns whether it did.
func CompareAndSwap(key string, expected, replacement []byte) (bool, error) {
	return sandhog.Check(bindings.CompareAndSwap(key, option(expected), option(replacement)))
}

// Expire lets key expire; returns whether it was there. 0: it never expires.
func Expire(key string, ttl time.Duration) (bool, error) {
	after := witTypes.None[uint64]()
	if ttl != 0 {
		after = witTypes.Some(uint64(ttl.Milliseconds()))
	}
	return sandhog.Check(bindings.Expire(key, after))
}

// TTL returns the time until key expires; 0 if it is absent or does not expire.
func TTL(key string) (time.Duration, error) {
	left, err := sandhog.Check(bindings.Ttl(key))
	if err != nil {
		return 0, err
	}
	return time.Duration(left.SomeOr(0)) * time.Millisecond, nil
}

// ListKeys returns keys that start with prefix, a page at a time; the first page has the cursor "".
func ListKeys(prefix, cursor string) (Page, error) {
	from := witTypes.None[string]()
	if cursor != "" {
		from = witTypes.Some(cursor)
	}
	page, err := sandhog.Check(bindings.ListKeys(prefix, from))
	if err != nil {
		return Page{}, err
	}
	return Page{page.Keys, page.Cursor.SomeOr("")}, nil
}

func held(value witTypes.Option[[]byte]) []byte {
	if value.IsNone() {
		return nil
	}
	if value.Some() == nil {
		return []byte{}
	}
	return value.Some()
}

func option(value []byte) witTypes.Option[[]byte] {
	if value == nil {
		return witTypes.None[[]byte]()
	}
	return witTypes.Some(value)
}
