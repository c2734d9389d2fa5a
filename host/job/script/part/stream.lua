-- Part: local names for what a long call uses at every step; a global is looked up each time.
local call, try, argv = redis.call, redis.pcall, ARGV
