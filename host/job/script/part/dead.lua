-- Part, needs `count`: the dead set and `dead_bytes` of `stats`, which move together.
-- add_dead(dead, stats, now, envelope) puts one in.
-- trim_dead(dead, stats, now, count, age_ms, bytes) drops the oldest until the caps hold, a bounded number at
-- a time: each burial adds one, so the set shrinks to its caps.
local TRIM_MAX = 100

local function add_dead(dead, stats, now, envelope)
  if redis.call('ZADD', dead, now, envelope) == 1 then count(stats, 'dead_bytes', #envelope) end
end

local function drop_dead_bytes(dead, stats, bytes)
  if redis.call('EXISTS', dead) == 0 then
    redis.call('HSET', stats, 'dead_bytes', 0)
  else
    count(stats, 'dead_bytes', -bytes)
  end
end

local function trim_dead(dead, stats, now, count_max, age_ms_max, bytes_max)
  local left = redis.call('ZCARD', dead)
  local bytes = tonumber(redis.call('HGET', stats, 'dead_bytes')) or 0
  local dropped, freed = 0, 0
  while left > 0 and dropped < TRIM_MAX do
    local over = left > count_max or bytes - freed > bytes_max
    if not over and redis.call('ZCOUNT', dead, '-inf', now - age_ms_max) == 0 then break end
    freed = freed + #redis.call('ZPOPMIN', dead)[1]
    dropped = dropped + 1
    left = left - 1
  end
  if dropped > 0 then
    count(stats, 'dead_dropped', dropped)
    drop_dead_bytes(dead, stats, freed)
  end
  return dropped
end
