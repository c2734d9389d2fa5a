-- Part, needs `refusal`: PAUSED, the score of a schedule that does not fire; set_schedule(schedules, key, name, origin, definition,
-- timing, slot, at) writes one down and answers 'added', 'changed', 'taken' (it was of another origin) or nil, if it
-- is already there unchanged; or an error if this user lacks a right. A schedule with the same times continues where it
-- was; a paused one stays paused.
-- is_schedule(key, slot, definition, fired): whether the schedule is still as a host has read it.
local PAUSED = 8640000000000000
local function set_schedule(schedules, key, name, origin, definition, timing, slot, at)
  local there = redis.call('ZSCORE', schedules, name)
  local known = redis.call('HMGET', key, 'definition', 'timing', 'origin', 'paused')
  if there and known[1] == definition and known[3] == origin then return nil end
  local refused = refusal('HSET', key, 'HDEL', key, 'ZADD', schedules)
  if refused then return refused end
  redis.call('HSET', key, 'definition', definition, 'timing', timing, 'origin', origin)
  if not there or known[2] ~= timing then
    redis.call('HSET', key, 'slot', slot)
    redis.call('HDEL', key, 'fired') -- These are slots of the former times.
    redis.call('ZADD', schedules, known[4] and PAUSED or at, name)
  end
  return not there and 'added' or known[3] == origin and 'changed' or 'taken'
end

local function is_schedule(key, slot, definition, fired)
  local known = redis.call('HMGET', key, 'slot', 'definition', 'fired')
  return known[1] == slot and known[2] == definition and (known[3] or '') == fired
end
