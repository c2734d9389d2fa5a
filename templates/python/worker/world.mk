# The world of wit/worlds.wit that the component is made for.
WORLD := queue-worker
