# What is particular to this project; the Makefile is that of the templates.
NAME := orders
WORLD := queue-worker
# What of yyjson is not used here.
CFLAGS := -DYYJSON_DISABLE_NON_STANDARD=1 -DYYJSON_DISABLE_INCR_READER=1 -DYYJSON_DISABLE_UTILS=1
