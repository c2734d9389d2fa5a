// Package reader makes the setting `greeting` of the key `{{name}}:greeting`.
//
// Workers whose manifest has `config = ["{{name}}"]` among its grants see it as `{{name}}.greeting`. It runs when it is
// loaded, and again whenever the key changes. On an error the last good settings stay.
package reader

import (
	"guest/greeting"
	"guest/sandhog/kv"
)

// Where the greeting is.
const key = "{{name}}:greeting"

// Read answers the settings: names and values.
func Read() (map[string]string, error) {
	value, err := kv.Get(key)
	if err != nil {
		return nil, err
	}
	said := greeting.Default
	if value != nil {
		if said, err = greeting.Checked(key, value); err != nil {
			return nil, err
		}
	}
	return map[string]string{"greeting": said}, nil
}
