// Package words is what a word is. It knows nothing of the host, so that plain Go can test it.
package words

import "strings"

// BytesMax is the longest word; what is longer is passed over.
const BytesMax = 64

// Of answers the words between white space (that of ASCII), in lower case.
func Of(text string) []string {
	var words []string
	for _, word := range strings.FieldsFunc(text, isSpace) {
		if word = strings.ToLower(word); len(word) <= BytesMax {
			words = append(words, word)
		}
	}
	return words
}

func isSpace(char rune) bool {
	return strings.ContainsRune(" \t\n\f\r", char)
}
