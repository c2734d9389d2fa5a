// Package export_sandhog_worker_handler is what the host calls. Its name is the generated code's.
package export_sandhog_worker_handler

import (
	"guest/bindings/sandhog_worker_handler"
	"guest/sandhog"
	"guest/worker"

	witTypes "go.bytecodealliance.org/pkg/wit/types"
)

// Handle handles one job.
func Handle(job sandhog_worker_handler.Job) witTypes.Result[witTypes.Unit, sandhog_worker_handler.Failure] {
	return sandhog.Answer(worker.Handle(job))
}
