package greeting

import (
	"strings"
	"testing"
)

func TestABadValueNamesItsKey(t *testing.T) {
	for value, said := range map[string]string{
		"salut":                  "",
		strings.Repeat("x", 200): "",
		strings.Repeat("x", 201): "`k` has 201 bytes, not 200 at the most",
		"\xff":                   "`k` is not UTF-8 text",
	} {
		found, err := Checked("k", []byte(value))
		if (said == "" && (err != nil || found != value)) || (said != "" && (err == nil || err.Error() != said)) {
			t.Errorf("%q: %q, %v", value, found, err)
		}
	}
}
