// Package export_sandhog_worker_batch_handler is what the host calls. Its name is the generated code's.
package export_sandhog_worker_batch_handler

import (
	"guest/bindings/sandhog_worker_handler"
	"guest/sandhog"
	"guest/worker"

	witTypes "go.bytecodealliance.org/pkg/wit/types"
)

// HandleBatch handles the jobs of a call. An error that concerns all of them ends the run.
func HandleBatch(jobs []sandhog_worker_handler.Job) []witTypes.Result[witTypes.Unit, sandhog_worker_handler.Failure] {
	errors, err := worker.Handle(jobs)
	if err != nil {
		panic(err)
	}
	answers := make([]witTypes.Result[witTypes.Unit, sandhog_worker_handler.Failure], len(errors))
	for nth, err := range errors {
		answers[nth] = sandhog.Answer(err)
	}
	return answers
}
