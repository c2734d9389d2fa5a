-- Part: count(stats, counter, n) adds to a counter. A counter somebody spoiled by hand stops no job.
local function count(stats, counter, n)
  if n ~= 0 then redis.pcall('HINCRBY', stats, counter, n) end
end
