// Package export_sandhog_worker_config_source is what the host calls. Its name is the generated code's.
package export_sandhog_worker_config_source

import (
	"guest/reader"

	witTypes "go.bytecodealliance.org/pkg/wit/types"
)

type settings = []witTypes.Tuple2[string, string]

// Read answers names and values, or why there are none.
func Read() witTypes.Result[settings, string] {
	read, err := reader.Read()
	if err != nil {
		return witTypes.Err[settings](err.Error())
	}
	named := settings{}
	for name, value := range read {
		named = append(named, witTypes.Tuple2[string, string]{F0: name, F1: value})
	}
	return witTypes.Ok[settings, string](named)
}
