// Package order is an order as its producer wrote it, checked. It knows nothing of the host, so that plain Go can test it.
package order

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// NameBytesMax is the longest id or customer: both become part of a key.
const NameBytesMax = 200

// Order is `{"id": "A-17", "customer": "ada", "amount_cents": 1234}`; further fields are ignored.
type Order struct {
	ID          string
	Customer    string
	AmountCents int64
}

// Parse reads a payload; the error says in a line what is wrong with it.
func Parse(payload []byte) (Order, error) {
	order, err := read(payload)
	if err != nil {
		return order, fmt.Errorf("malformed order: %w", err)
	}
	for _, field := range []struct{ name, text string }{{"id", order.ID}, {"customer", order.Customer}} {
		if length := len(field.text); length < 1 || length > NameBytesMax {
			return order, fmt.Errorf("`%s` has %d bytes, not 1 to %d", field.name, length, NameBytesMax)
		}
	}
	if order.AmountCents <= 0 {
		return order, fmt.Errorf("`amount_cents` is %d, not above zero", order.AmountCents)
	}
	return order, nil
}

func read(payload []byte) (Order, error) {
	var order Order
	// The library would put something else in the place of what is no text, and take fields in any case.
	if !utf8.Valid(payload) {
		return order, errors.New("not UTF-8")
	}
	var fields map[string]json.RawMessage
	err := json.Unmarshal(payload, &fields)
	if err != nil {
		return order, err
	}
	if order.ID, err = text(fields, "id"); err != nil {
		return order, err
	}
	if order.Customer, err = text(fields, "customer"); err != nil {
		return order, err
	}
	order.AmountCents, err = strconv.ParseInt(string(fields["amount_cents"]), 10, 64)
	if err != nil {
		return order, errors.New("`amount_cents` is not a whole number")
	}
	return order, nil
}

func text(fields map[string]json.RawMessage, name string) (string, error) {
	raw := fields[name]
	var text string
	if len(raw) == 0 || raw[0] != '"' || json.Unmarshal(raw, &text) != nil {
		return "", fmt.Errorf("`%s` is not a string", name)
	}
	return text, nil
}
