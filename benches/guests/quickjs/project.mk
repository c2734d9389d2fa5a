# What is particular to this project; the Makefile is that of the templates.
NAME := noop-quickjs
WORLD := queue-worker
WIT := ../../../wit
