-- Counts: tells how many jobs of a queue are where. Changes nothing.
--
-- KEYS   1 list  2 ready  3 delayed  4 dead  5 stats  6 paused  7 hosts  8 parked
-- ARGV   1 prefix of the keys in flight
-- Reply  {0, waiting, ready, inflight, delayed, dead, paused, {counter, value, …}, parked}; {1, key} of a wrong type
local wrong = wrong_type(KEYS[1], 'list', KEYS[2], 'list', KEYS[3], 'zset', KEYS[4], 'zset', KEYS[5], 'hash',
  KEYS[7], 'zset', KEYS[8], 'hash')
if wrong then return {1, wrong} end
local inflight = 0
-- The counters; none of a hash that another program has filled.
local stats = {}
for _, counter in ipairs(redis.call('HLEN', KEYS[5]) <= 256 and redis.call('HKEYS', KEYS[5]) or {}) do
  if #counter <= 64 and redis.call('HSTRLEN', KEYS[5], counter) <= 64 then
    stats[#stats + 1] = counter
    stats[#stats + 1] = redis.call('HGET', KEYS[5], counter)
  end
end
for _, host in ipairs(redis.call('ZRANGE', KEYS[7], 0, -1)) do
  local key = ARGV[1] .. host
  if wrong_type(key, 'hash') then return {1, key} end
  inflight = inflight + #fields_of(key)
end
return {0, redis.call('LLEN', KEYS[1]), redis.call('LLEN', KEYS[2]), inflight, redis.call('ZCARD', KEYS[3]),
  redis.call('ZCARD', KEYS[4]), redis.call('EXISTS', KEYS[6]), stats,
  tonumber(redis.call('HGET', KEYS[8], ' ')) or 0}
