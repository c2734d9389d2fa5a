// Package worker counts words.
//
// For each word of a job's payload it adds 1 to `count:<word>`, and it pushes the number of words to the queue
// `word-counts`. A payload that is no text is buried.
package worker

import (
	"strconv"
	"unicode/utf8"

	"guest/bindings/sandhog_worker_handler"
	"guest/sandhog"
	"guest/sandhog/kv"
	"guest/sandhog/queue"
	"guest/words"
)

// Handle handles one job: without an error it is done. What errors mean is in package sandhog.
func Handle(job sandhog_worker_handler.Job) error {
	if !utf8.Valid(job.Payload) {
		return sandhog.Bury{Reason: "not text"}
	}
	found := words.Of(string(job.Payload))
	for _, word := range found {
		if err := kv.Add("count:"+word, 1); err != nil {
			return err
		}
	}
	_, err := queue.Push("word-counts", []byte(strconv.Itoa(len(found))))
	return err
}
