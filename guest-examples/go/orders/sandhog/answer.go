// Package sandhog is what errors mean to the host, and what the host's refusals are as errors.
package sandhog

import (
	"errors"
	"time"

	"guest/bindings/sandhog_worker_handler"

	witTypes "go.bytecodealliance.org/pkg/wit/types"
)

// Retry runs the job again: after the back-off of the manifest, or After.
type Retry struct {
	Reason string
	After  time.Duration
}

// Bury never runs the job again: to the dead jobs, with this reason.
type Bury struct{ Reason string }

// Discard drops the job; the reason is logged.
type Discard struct{ Reason string }

func (e Retry) Error() string   { return e.Reason }
func (e Bury) Error() string    { return e.Reason }
func (e Discard) Error() string { return e.Reason }

// Answer makes the host's answer of a handler's error. None: the job is done. A refusal of the host that cannot get better buries
// the job; any other error than those above runs it again.
func Answer(err error) witTypes.Result[witTypes.Unit, sandhog_worker_handler.Failure] {
	var retry Retry
	var bury Bury
	var discard Discard
	var refused Refused
	switch {
	case err == nil:
		return witTypes.Ok[witTypes.Unit, sandhog_worker_handler.Failure](witTypes.Unit{})
	case errors.As(err, &bury):
		return failure(sandhog_worker_handler.MakeFailureBury(bury.Reason))
	case errors.As(err, &discard):
		return failure(sandhog_worker_handler.MakeFailureDiscard(discard.Reason))
	case errors.As(err, &retry):
	case errors.As(err, &refused) && refused.Why != Unavailable:
		return failure(sandhog_worker_handler.MakeFailureBury(err.Error()))
	default:
		retry = Retry{Reason: err.Error()}
	}
	after := witTypes.None[uint64]()
	if retry.After > 0 {
		after = witTypes.Some(uint64(retry.After.Milliseconds()))
	}
	options := sandhog_worker_handler.RetryOptions{Reason: retry.Reason, AfterMs: after}
	return failure(sandhog_worker_handler.MakeFailureRetry(options))
}

func failure(failure sandhog_worker_handler.Failure) witTypes.Result[witTypes.Unit, sandhog_worker_handler.Failure] {
	return witTypes.Err[witTypes.Unit](failure)
}
