package sandhog

import (
	"errors"
	"fmt"

	"guest/bindings/sandhog_worker_types"

	witTypes "go.bytecodealliance.org/pkg/wit/types"
)

// Check makes Go's pair of what kv and queue answer.
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
		return fmt.Errorf("the grants do not cover `%s`", refused.Denied())
	case sandhog_worker_types.ErrorWrongType:
		return fmt.Errorf("`%s` holds something else", refused.WrongType())
	case sandhog_worker_types.ErrorQuota:
		return fmt.Errorf("the bound `%s` was passed", refused.Quota())
	default:
		return errors.New(refused.Unavailable())
	}
}
