package words

import (
	"slices"
	"strings"
	"testing"
)

func TestWordsAreLowerCaseAndNotTooLong(t *testing.T) {
	for text, expected := range map[string][]string{
		"The  quick\tthe\n":                   {"the", "quick", "the"},
		"a " + strings.Repeat("x", 65) + " b": {"a", "b"},
		" \n":                                 nil,
	} {
		if found := Of(text); !slices.Equal(found, expected) {
			t.Errorf("%q: %q", text, found)
		}
	}
}
