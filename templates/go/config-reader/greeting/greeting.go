// Package greeting is what a greeting may be. It knows nothing of the host, so that plain Go can test it.
package greeting

import (
	"fmt"
	"unicode/utf8"
)

const (
	// Default is for where the key is not there.
	Default = "hello"
	// BytesMax is the longest greeting.
	BytesMax = 200
)

// Checked answers the greeting of what key holds, or what is wrong with it, so that workers never see a bad one.
func Checked(key string, value []byte) (string, error) {
	if len(value) > BytesMax {
		return "", fmt.Errorf("`%s` has %d bytes, not %d at the most", key, len(value), BytesMax)
	}
	if !utf8.Valid(value) {
		return "", fmt.Errorf("`%s` is not UTF-8 text", key)
	}
	return string(value), nil
}
