// The component: what the host calls is in bindings/export_…, which calls the package that does the work.
package main

import _ "guest/bindings/wit_exports"

func main() {}
