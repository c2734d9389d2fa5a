# What is particular to this project; the Makefile is that of the templates.
NAME := orders
WORLD := queue-worker
WIT := ../../../wit
