-- Part, needs `count`, `record`, `portion`, `refusal`: the dead set, and its size in `stats`: `dead_jobs` and `dead_bytes`.
-- add_dead(dead, stats, now, envelope) adds a job that died now.
-- change_dead(dead, stats, jobs, bytes): an operator added so many, or removed them if the numbers are negative.
-- trim_dead(dead, stats, now, count, age_ms, bytes) drops the oldest jobs until the limits hold, a bounded number and
-- bounded bytes in one call, but more than one call adds: so the set shrinks to its limits.
-- It returns the number of dropped jobs, or an error if this user lacks a right. The scripts that end a run
-- ignore that error.
-- If `dead_jobs` is not the length of the set, somebody changed it by hand. Then its bytes are counted again, a bounded
-- number in one call (`dead_recount`: jobs and bytes so far), and until then no job is dropped because of the bytes.
local TRIM_MAX = 100
local RECOUNT_JOBS_MAX, RECOUNT_BYTES_MAX = 1000, 4194304
local trim_bytes_max = 1048576

local function add_dead(dead, stats, now, envelope)
  local stored = add_record(dead, now, envelope)
  trim_bytes_max = trim_bytes_max + #stored
  count(stats, 'dead_jobs', 1)
  count(stats, 'dead_bytes', #stored)
end

local function take_off(dead, stats, jobs, bytes)
  if redis.pcall('EXISTS', dead) == 0 then
    redis.pcall('HSET', stats, 'dead_jobs', 0, 'dead_bytes', 0)
  else
    count(stats, 'dead_jobs', -jobs)
    count(stats, 'dead_bytes', -bytes)
  end
end

local function change_dead(dead, stats, jobs, bytes)
  if jobs == 0 then return end
  take_off(dead, stats, -jobs, -bytes)
  -- They were anywhere in the set, so the jobs that a recount has read so far may be others now.
  redis.pcall('HDEL', stats, 'dead_recount')
end

-- Continues the recount; returns the bytes of all jobs if it is finished.
local function recount(dead, stats, left, so_far)
  local at, sum = string.match(so_far or '', '^(%d+) (%d+)$')
  at, sum = tonumber(at) or 0, tonumber(sum) or 0
  if at > left then at, sum = 0, 0 end
  local looked, bytes = 0, 0
  while at + looked < left and looked < RECOUNT_JOBS_MAX and bytes < RECOUNT_BYTES_MAX do
    local ask = next_portion(looked, bytes, RECOUNT_BYTES_MAX, RECOUNT_JOBS_MAX - looked)
    for _, record in ipairs(redis.call('ZRANGE', dead, at + looked, at + looked + ask - 1)) do
      looked, bytes = looked + 1, bytes + #record
    end
  end
  at, sum = at + looked, sum + bytes
  if at < left then
    redis.call('HSET', stats, 'dead_recount', string.format('%d %.0f', at, sum))
    return
  end
  redis.call('HDEL', stats, 'dead_recount')
  redis.call('HSET', stats, 'dead_jobs', left, 'dead_bytes', string.format('%.0f', sum))
  return sum
end

-- The bytes of all jobs, if they are known.
local function dead_bytes(dead, stats, left)
  local known = redis.call('HMGET', stats, 'dead_jobs', 'dead_bytes', 'dead_recount')
  local bytes = tonumber(known[2])
  if bytes and tonumber(known[1]) == left and not known[3] then return bytes end
  return recount(dead, stats, left, known[3])
end

local function trim_dead(dead, stats, now, count_max, age_ms_max, bytes_max)
  local refused = refusal('ZCARD', dead, 'ZCOUNT', dead, 'ZRANGE', dead, 'ZPOPMIN', dead, 'HMGET', stats, 'HGET', stats,
    'HSET', stats, 'HDEL', stats)
  if refused then return refused end
  local left = redis.call('ZCARD', dead)
  local bytes = left > 0 and dead_bytes(dead, stats, left)
  local dropped, freed = 0, 0
  while left > 0 and dropped < TRIM_MAX and freed < trim_bytes_max do
    local over = left > count_max or bytes and bytes - freed > bytes_max
    if not over and redis.call('ZCOUNT', dead, '-inf', now - age_ms_max) == 0 then break end
    freed = freed + #redis.call('ZPOPMIN', dead)[1]
    dropped = dropped + 1
    left = left - 1
  end
  if dropped > 0 then
    count(stats, 'dead_dropped', dropped)
    take_off(dead, stats, dropped, freed)
    if not bytes then
      -- The recount began with the oldest.
      local at, sum = string.match(redis.call('HGET', stats, 'dead_recount') or '', '^(%d+) (%d+)$')
      at, sum = (tonumber(at) or 0) - dropped, (tonumber(sum) or 0) - freed
      redis.call('HSET', stats, 'dead_recount', at > 0 and string.format('%d %.0f', at, math.max(0, sum)) or '0 0')
    end
  end
  return dropped
end
