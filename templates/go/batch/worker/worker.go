// Package worker adds up numbers, many jobs a call.
//
// A job's payload is a name and a number, `ada 12`; all jobs of a call with the same name become one addition to
// `total:<name>`. A job that does not read so is buried.
package worker

import (
	"guest/bindings/sandhog_worker_handler"
	"guest/sandhog"
	"guest/sandhog/kv"
	"guest/sums"
)

// Handle handles the jobs of a call: one answer for each, in their order; nil means that it is done.
//
// The second error fails them all: nothing of this call takes place, and its jobs run again.
func Handle(jobs []sandhog_worker_handler.Job) ([]error, error) {
	answers := make([]error, len(jobs))
	totals := map[string]int64{}
	for nth, job := range jobs {
		if name, number, ok := sums.Entry(job.Payload); ok {
			totals[name] = sums.Add(totals[name], number)
		} else {
			answers[nth] = sandhog.Bury{Reason: "want NAME NUMBER"}
		}
	}
	for name, total := range totals {
		if err := kv.Add("total:"+name, total); err != nil {
			return nil, err
		}
	}
	return answers, nil
}
