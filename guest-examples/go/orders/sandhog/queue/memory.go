//go:build !wasip1

package queue

import (
	"slices"
	"strconv"

	"guest/sandhog"
	"guest/sandhog/memory"
)

// granted returns the Redis of the test.
func granted(queue string) (*memory.Redis, error) {
	if memory.Current == nil {
		panic("queue in a unit test: call memory.New first")
	}
	if memory.Current.Denied[queue] {
		return nil, sandhog.Refused{Why: sandhog.Denied, Name: queue}
	}
	return memory.Current, nil
}

func Push(queue string, payload []byte) (uint64, error) {
	return PushMany(queue, [][]byte{payload})
}

func PushMany(queue string, payloads [][]byte) (uint64, error) {
	redis, err := granted(queue)
	if err != nil {
		return 0, err
	}
	for _, payload := range payloads {
		redis.Queues[queue] = append(redis.Queues[queue], string(payload))
	}
	return uint64(len(redis.Queues[queue])), nil
}

func PushWith(queue string, payload []byte, options Options) (Outcome, error) {
	redis, err := granted(queue)
	if err != nil {
		return Outcome{}, err
	}
	if options.Delay == 0 && options.UniqueKey == "" {
		at := len(redis.Queues[queue])
		if options.End == Front {
			at = 0
		}
		redis.Queues[queue] = slices.Insert(redis.Queues[queue], at, string(payload))
		return Outcome{Waiting: uint64(len(redis.Queues[queue]))}, nil
	}
	same := func(entry memory.Entry) bool { return entry.Queue == queue && entry.Unique == options.UniqueKey }
	if options.UniqueKey != "" && slices.ContainsFunc(redis.Pushed, same) {
		return Outcome{Duplicate: true}, nil
	}
	entry := memory.Entry{Queue: queue, Payload: string(payload), Delay: options.Delay, Unique: options.UniqueKey}
	redis.Pushed = append(redis.Pushed, entry)
	return Outcome{Delayed: "test-push-" + strconv.Itoa(len(redis.Pushed))}, nil
}

func Pop(queue string, from End) ([]byte, error) {
	redis, err := granted(queue)
	if err != nil || len(redis.Queues[queue]) == 0 {
		return nil, err
	}
	waiting := redis.Queues[queue]
	at := len(waiting) - 1
	if from == Front {
		at = 0
	}
	entry := []byte(waiting[at])
	redis.Queues[queue] = slices.Delete(waiting, at, at+1)
	return entry, nil
}

func Length(queue string) (uint64, error) {
	redis, err := granted(queue)
	if err != nil {
		return 0, err
	}
	return uint64(len(redis.Queues[queue])), nil
}

func Peek(queue string, count uint32) ([][]byte, error) {
	redis, err := granted(queue)
	if err != nil {
		return nil, err
	}
	var entries [][]byte
	for _, entry := range redis.Queues[queue][:min(int(count), len(redis.Queues[queue]))] {
		entries = append(entries, []byte(entry))
	}
	return entries, nil
}
