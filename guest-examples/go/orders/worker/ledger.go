package worker

import (
	"encoding/json"
	"time"

	kv "guest/bindings/sandhog_worker_kv"
	queue "guest/bindings/sandhog_worker_queue"
	"guest/order"
	"guest/sandhog"

	witTypes "go.bytecodealliance.org/pkg/wit/types"
)

// How long an order is remembered.
const seen = 7 * 24 * time.Hour

type receipt struct {
	Order       string `json:"order"`
	Customer    string `json:"customer"`
	AmountCents int64  `json:"amount_cents"`
	Currency    string `json:"currency"`
	Greeting    string `json:"greeting"`
}

// Books an order, unless another job has; answers whether it did.
//
// The manifest asks for atomic effects: all of it becomes visible together with the job's completion, or nothing. So
// nothing here is prepared for a run that was cut off, and a job that runs twice books once. That leaves the producer,
// who may push the same order as two jobs: each order has a marker, set only if there is none.
func book(jobID string, order order.Order, settings settings) (bool, error) {
	once := kv.SetOptions{TtlMs: witTypes.Some(uint64(seen.Milliseconds())), Condition: kv.ConditionIfAbsent}
	isFirst, err := sandhog.Check(kv.SetWith("order:seen:"+order.ID, []byte(jobID), once))
	if err != nil {
		return false, err
	}
	if !isFirst {
		_, err = sandhog.Check(kv.Add("orders:duplicates", 1))
		return false, err
	}
	for _, sum := range []struct {
		key string
		by  int64
	}{{"total:" + order.Customer, order.AmountCents}, {"total:all", order.AmountCents}, {"orders:count", 1}} {
		if _, err = sandhog.Check(kv.Add(sum.key, sum.by)); err != nil {
			return false, err
		}
	}
	text, err := json.Marshal(receipt{order.ID, order.Customer, order.AmountCents, settings.currency, settings.greeting})
	if err != nil {
		return false, err
	}
	_, err = sandhog.Check(queue.Push("receipts", text))
	return true, err
}
