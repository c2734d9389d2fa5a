package main

// Forgets what the adapter between Go and the host knows of standard output and the like, which Go asks for as it starts: in
// a component made with `sandhog snapshot` it would be that of another instance. It is asked for anew when it is needed.
//
//go:wasmimport wasi_snapshot_preview1 reset_adapter_state
func resetAdapterState()

func init() { resetAdapterState() }
