// Package worker handles orders.
//
//	good                                                              done: totals, receipt and marker are written
//	the same order id in another job                                  done: only `orders:duplicates` is counted
//	above `site-settings.max_amount_cents`                            retry: an operator may raise the maximum meanwhile
//	not JSON, a field missing or empty, an amount of zero or less     bury: it will never be better
package worker

import (
	"fmt"

	"guest/bindings/sandhog_worker_handler"
	"guest/bindings/wasi_logging_logging"
	"guest/order"
	"guest/sandhog"
)

// Handle handles one job. What its errors mean is in package sandhog.
func Handle(job sandhog_worker_handler.Job) error {
	order, err := order.Parse(job.Payload)
	if err != nil {
		return sandhog.Bury{Reason: err.Error()}
	}
	settings, err := readSettings()
	if err != nil {
		return err
	}
	if order.AmountCents > settings.maxAmountCents {
		reason := fmt.Sprintf("amount %d is above the maximum of %d for now", order.AmountCents, settings.maxAmountCents)
		return sandhog.Retry{Reason: reason}
	}
	isFirst, err := book(job.Id, order, settings)
	if err == nil && !isFirst {
		said := fmt.Sprintf("order `%s` was booked before", order.ID)
		wasi_logging_logging.Log(wasi_logging_logging.LevelInfo, "orders", said)
	}
	return err
}
