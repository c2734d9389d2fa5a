package order

import (
	"strings"
	"testing"
)

func TestAGoodOrderIsRead(t *testing.T) {
	order, err := Parse([]byte(`{"id": "A-1", "customer": "ada", "amount_cents": 1, "note": "x"}`))
	if want := (Order{"A-1", "ada", 1}); err != nil || order != want {
		t.Errorf("%v %v", order, err)
	}
}

func TestWhatIsWrongIsSaid(t *testing.T) {
	for payload, said := range map[string]string{
		"":                  "malformed order: ",
		"null":              "malformed order: `id` is not a string",
		"[1]":               "malformed order: ",
		`{"id": "A-1"`:      "malformed order: ",
		"{\"id\":\"\xff\"}": "malformed order: not UTF-8",
		`{"id": null, "customer": "a", "amount_cents": 1}`:                               "`id` is not a string",
		`{"ID": "A-1", "customer": "a", "amount_cents": 1}`:                              "`id` is not a string",
		`{"id": "A-1", "amount_cents": 1}`:                                               "`customer` is not a string",
		`{"id": "A-1", "customer": "a", "amount_cents": 1.5}`:                            "not a whole number",
		`{"id": "A-1", "customer": "a", "amount_cents": true}`:                           "not a whole number",
		`{"id": "A-1", "customer": "a", "amount_cents": 99999999999999999999}`:           "not a whole number",
		`{"id": "", "customer": "a", "amount_cents": 1}`:                                 "`id` has 0 bytes, not 1 to 200",
		`{"id": "` + strings.Repeat("é", 101) + `", "customer": "a", "amount_cents": 1}`: "`id` has 202 bytes",
		`{"id": "A-1", "customer": "", "amount_cents": 1}`:                               "`customer` has 0 bytes",
		`{"id": "A-1", "customer": "a", "amount_cents": 0}`:                              "`amount_cents` is 0, not above zero",
		`{"id": "A-1", "customer": "a", "amount_cents": -5}`:                             "`amount_cents` is -5",
	} {
		if _, err := Parse([]byte(payload)); err == nil || !strings.Contains(err.Error(), said) {
			t.Errorf("%.60s: %v", payload, err)
		}
	}
}
