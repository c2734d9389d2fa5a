package sandhog

import (
	"fmt"

	"guest/bindings/sandhog_worker_types"

	witTypes "go.bytecodealliance.org/pkg/wit/types"
)

// Refused is an error of kv and queue: the host refused a call, or Redis did not answer.
type Refused struct {
	// Why is one of the constants below.
	Why Why
	// Name is the key, queue or bound; with Unavailable the reason.
	Name string
}

// Why the host refused a call.
type Why int

const (
	// Denied: the grants do not cover the key or queue.
	Denied Why = iota
	// WrongType: the key holds another type.
	WrongType
	// Quota: a bound was passed.
	Quota
	// Unavailable: Redis did not answer, or refused. The only one that a retry can fix.
	Unavailable
)

func (e Refused) Error() string {
	switch e.Why {
	case Denied:
		return fmt.Sprintf("the grants do not cover `%s`", e.Name)
	case WrongType:
		return fmt.Sprintf("`%s` holds something else", e.Name)
	case Quota:
		return fmt.Sprintf("the bound `%s` was passed", e.Name)
	default:
		return e.Name
	}
}

// Check makes Go's pair of what the bindings answer.
func Check[T any](result witTypes.Result[T, sandhog_worker_types.Error]) (T, error) {
	if result.IsOk() {
		return result.Ok(), nil
	}
	var none T
	return none, refusal(result.Err())
}

func refusal(refused sandhog_worker_types.Error) error {
	switch refused.Tag() {
	case sandhog_worker_types.ErrorDenied:
		return Refused{Denied, refused.Denied()}
	case sandhog_worker_types.ErrorWrongType:
		return Refused{WrongType, refused.WrongType()}
	case sandhog_worker_types.ErrorQuota:
		return Refused{Quota, refused.Quota()}
	default:
		return Refused{Unavailable, refused.Unavailable()}
	}
}
