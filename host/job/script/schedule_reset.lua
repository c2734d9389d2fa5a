-- Schedule reset: moves a schedule back to an earlier slot than the one it waits for, which was computed while Redis'
-- clock was ahead. Nothing happens if the schedule is not as the host expects it.
--
-- KEYS   1 schedules  2 the schedule
-- ARGV   1 name  2 slot, 3 definition and 4 slots that have fired, as they are expected to be  5 slot that comes next
--        6 when that is due
-- Reply  {0}; {1, key} of a wrong type; {2} the schedule has changed, or another host was first
local wrong = wrong_type(KEYS[1], 'zset', KEYS[2], 'hash')
if wrong then return {1, wrong} end
local due = tonumber(redis.call('ZSCORE', KEYS[1], ARGV[1]) or PAUSED)
if not is_schedule(KEYS[2], ARGV[2], ARGV[3], ARGV[4]) or due >= PAUSED or due <= tonumber(ARGV[6]) then return {2} end
local refused = refusal('ZADD', KEYS[1])
if refused then return refused end
redis.call('HSET', KEYS[2], 'slot', ARGV[5])
redis.call('ZADD', KEYS[1], ARGV[6], ARGV[1])
return {0}
