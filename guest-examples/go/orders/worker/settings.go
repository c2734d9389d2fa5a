package worker

import (
	"errors"
	"math"
	"strconv"

	"guest/bindings/wasi_config_store"
)

// What this worker takes from the config reader `site-settings`, with defaults for a host that has none.
type settings struct {
	greeting       string
	currency       string
	maxAmountCents int64
}

// No round trip: the host keeps one snapshot for the whole run.
func readSettings() (settings, error) {
	most, err := setting("max_amount_cents", strconv.Itoa(math.MaxInt64))
	if err != nil {
		return settings{}, err
	}
	read := settings{}
	if read.maxAmountCents, err = strconv.ParseInt(most, 10, 64); err != nil {
		return read, err
	}
	if read.greeting, err = setting("greeting", "hello"); err != nil {
		return read, err
	}
	read.currency, err = setting("currency", "EUR")
	return read, err
}

func setting(name, otherwise string) (string, error) {
	value := wasi_config_store.Get("site-settings." + name)
	if value.IsErr() {
		return "", errors.New("setting `" + name + "` could not be read")
	}
	return value.Ok().SomeOr(otherwise), nil
}
