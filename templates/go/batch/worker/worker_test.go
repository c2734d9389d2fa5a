package worker

import (
	"maps"
	"testing"

	"guest/bindings/sandhog_worker_handler"
	"guest/sandhog/memory"
)

// What the jobs of a call change, with Redis in memory.
func TestThereIsOneAdditionForEachName(t *testing.T) {
	redis := memory.New()
	redis.Keys["total:ada"] = "1"
	var jobs []sandhog_worker_handler.Job
	for _, payload := range []string{"ada 12", "ada twelve", "ada 30"} {
		jobs = append(jobs, sandhog_worker_handler.Job{Payload: []byte(payload)})
	}
	answers, err := Handle(jobs)
	if err != nil || len(answers) != 3 || answers[0] != nil || answers[1] == nil || answers[2] != nil {
		t.Fatal(answers, err)
	}
	if !maps.Equal(redis.Keys, map[string]string{"total:ada": "43"}) {
		t.Error(redis.Keys)
	}
}
