// A queue worker: takes orders as JSON, keeps totals, pushes a receipt for each. What it answers is in worker.
package main

import _ "guest/bindings/wit_exports"

func main() {}
