package worker

import (
	"encoding/json"
	"time"

	"guest/order"
	"guest/sandhog/kv"
	"guest/sandhog/queue"
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
	once := kv.Options{TTL: seen, Condition: kv.IfAbsent}
	isFirst, err := kv.SetWith("order:seen:"+order.ID, []byte(jobID), once)
	if err != nil {
		return false, err
	}
	if !isFirst {
		return false, kv.Add("orders:duplicates", 1)
	}
	for _, sum := range []struct {
		key string
		by  int64
	}{{"total:" + order.Customer, order.AmountCents}, {"total:all", order.AmountCents}, {"orders:count", 1}} {
		if err = kv.Add(sum.key, sum.by); err != nil {
			return false, err
		}
	}
	text, err := json.Marshal(receipt{order.ID, order.Customer, order.AmountCents, settings.currency, settings.greeting})
	if err != nil {
		return false, err
	}
	_, err = queue.Push("receipts", text)
	return true, err
}
