package reader

import (
	"maps"
	"testing"

	"guest/sandhog/memory"
)

// Which settings come of which keys, with Redis in memory.
func TestTheGreetingIsThatOfTheKey(t *testing.T) {
	redis := memory.New()
	for _, want := range []string{"hello", "salut"} {
		if settings, err := Read(); err != nil || !maps.Equal(settings, map[string]string{"greeting": want}) {
			t.Error(want, settings, err)
		}
		redis.Keys[key] = "salut"
	}
	redis.Keys[key] = "\xff"
	if settings, err := Read(); err == nil {
		t.Error(settings)
	}
}
