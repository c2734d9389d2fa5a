// Package sums is what entries are, and what they add up to. It knows nothing of the host, so that plain Go can test it.
package sums

import (
	"math"
	"regexp"
	"strconv"
	"unicode/utf8"
)

// Compiled in every sandbox anew, so there is one only.
var entry = regexp.MustCompile(`^[ \t\n\f\r]*([^ \t\n\f\r]+)[ \t\n\f\r]+([+-]?[0-9]{1,19})[ \t\n\f\r]*$`)

// Entry is a payload's name and number; false if it does not read so.
func Entry(payload []byte) (name string, number int64, ok bool) {
	if !utf8.Valid(payload) {
		return "", 0, false
	}
	parts := entry.FindStringSubmatch(string(payload))
	if parts == nil {
		return "", 0, false
	}
	number, err := strconv.ParseInt(parts[2], 10, 64)
	return parts[1], number, err == nil && number != math.MinInt64
}

// Add adds; a sum that is too large stops growing.
func Add(one, other int64) int64 {
	switch sum := one + other; {
	case one > 0 && other > 0 && sum < 0:
		return math.MaxInt64
	case one < 0 && other < 0 && sum >= 0, sum == math.MinInt64:
		return -math.MaxInt64
	default:
		return sum
	}
}
