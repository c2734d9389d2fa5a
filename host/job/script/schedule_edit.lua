-- What operators do with a schedule: remove, pause, resume.
--
-- KEYS   1 schedules  2 the schedule
-- ARGV   1 name  2 'remove', 'pause' or 'resume'; for the last: 3 definition as it is expected to be  4 first slot
--        5 when that is due
-- Reply  {0}; {1, key} of a wrong type; {2} there is none; {3} it is in the files of hosts; {4} it was changed
local wrong = wrong_type(KEYS[1], 'zset', KEYS[2], 'hash')
if wrong then return {1, wrong} end
if not redis.call('ZSCORE', KEYS[1], ARGV[1]) then return {2} end
local refused = refusal('HSET', KEYS[2], ARGV[2] == 'remove' and 'ZREM' or 'ZADD', KEYS[1])
if refused then return refused end
if ARGV[2] == 'remove' then
  if redis.call('HGET', KEYS[2], 'origin') == 'file' then return {3} end
  redis.call('DEL', KEYS[2])
  redis.call('ZREM', KEYS[1], ARGV[1])
elseif ARGV[2] == 'pause' then
  redis.call('HSET', KEYS[2], 'paused', now)
  redis.call('ZADD', KEYS[1], PAUSED, ARGV[1])
elseif redis.call('HEXISTS', KEYS[2], 'paused') == 1 then
  if redis.call('HGET', KEYS[2], 'definition') ~= ARGV[3] then return {4} end
  redis.call('HDEL', KEYS[2], 'paused')
  redis.call('HSET', KEYS[2], 'slot', ARGV[4])
  redis.call('ZADD', KEYS[1], ARGV[5], ARGV[1])
end
return {0}
