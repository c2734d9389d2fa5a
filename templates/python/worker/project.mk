# What is particular to this project: its name, and the world of wit/worlds.wit that it is made for.
NAME := {{name}}
WORLD := queue-worker
