# What is particular to this project; the Makefile is that of the templates.
NAME := noop-python
WORLD := queue-worker
WIT := ../../../wit
