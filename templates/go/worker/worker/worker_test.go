package worker

import (
	"errors"
	"maps"
	"slices"
	"testing"

	"guest/bindings/sandhog_worker_handler"
	"guest/sandhog"
	"guest/sandhog/memory"
)

// What a job changes, with Redis in memory.
func run(redis *memory.Redis, payload string) error {
	job := sandhog_worker_handler.Job{Id: "test-1", Payload: []byte(payload)}
	return redis.Run(func() error { return Handle(job) })
}

func TestWordsAreCountedAndTheirNumberIsPushed(t *testing.T) {
	redis := memory.New()
	redis.Keys["count:the"] = "4"
	if err := run(redis, "The quick\tthe\n"); err != nil {
		t.Fatal(err)
	}
	if !maps.Equal(redis.Keys, map[string]string{"count:the": "6", "count:quick": "1"}) {
		t.Error(redis.Keys)
	}
	if !slices.Equal(redis.Queues["word-counts"], []string{"3"}) {
		t.Error(redis.Queues)
	}
}

func TestAFailureChangesNothing(t *testing.T) {
	redis := memory.New()
	redis.Denied["word-counts"] = true
	if err := run(redis, "the"); !errors.Is(err, sandhog.Refused{Why: sandhog.Denied, Name: "word-counts"}) {
		t.Error(err)
	}
	if err := run(redis, "\xff"); !errors.As(err, &sandhog.Bury{}) {
		t.Error(err)
	}
	if len(redis.Keys) != 0 || len(redis.Queues) != 0 {
		t.Error(redis)
	}
}
