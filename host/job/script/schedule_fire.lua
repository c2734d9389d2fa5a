-- Fires a schedule: pushes its job and advances it, in one step. Nothing happens unless it still is what the host has
-- reckoned with, so that of any number of hosts one fires. Refused, with nothing written, while Redis has reached its
-- memory limit.
--
-- KEYS   1 schedules  2 the schedule  3 ready
-- ARGV   1 name  2 slot and 3 definition as they are expected to be  4 next slot  5 when that is due, empty for never
--        6 job id; empty if nothing is to be pushed  7 notes as they stand in a header  8 payload
-- Reply  {0}; {1, key} of a wrong type; {2} it is another one by now
--
-- nothing -> ready
local wrong = wrong_type(KEYS[1], 'zset', KEYS[2], 'hash', KEYS[3], 'list')
if wrong then return {1, wrong} end
local known = redis.call('HMGET', KEYS[2], 'slot', 'definition')
local due = redis.call('ZSCORE', KEYS[1], ARGV[1])
if known[1] ~= ARGV[2] or known[2] ~= ARGV[3] or not due or tonumber(due) > now then return {2} end
if ARGV[6] ~= '' then
  redis.call('RPUSH', KEYS[3], string.format('1 %s 0 0 %d', ARGV[6], now) .. ARGV[7] .. '\n' .. ARGV[8])
  redis.call('HSET', KEYS[2], 'last', now)
end
redis.call('HSET', KEYS[2], 'slot', ARGV[4])
redis.call('ZADD', KEYS[1], ARGV[5] ~= '' and ARGV[5] or PAUSED, ARGV[1])
return {0}
