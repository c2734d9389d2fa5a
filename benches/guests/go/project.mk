# What is particular to this project; the Makefile is that of the templates.
NAME := noop-go
WORLD := queue-worker
