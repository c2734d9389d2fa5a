# What is particular to this project; the Makefile is that of the templates.
NAME := noop-spidermonkey
WORLD := queue-worker
WIT := ../../../wit
