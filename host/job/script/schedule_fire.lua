-- Schedule fire: pushes the job of a schedule and advances it, in one step. Nothing happens if the schedule is not as
-- the host expects it, so that of several hosts only one fires. Refused, with nothing written, while Redis has
-- reached its memory limit.
--
-- KEYS   1 schedules  2 the schedule  3 ready
-- ARGV   1 name  2 slot, 3 definition and 4 slots that have fired, as they are expected to be  5 next slot
--        6 when that is due; empty for never  7 slots that have fired after this
--        8 job id; empty if nothing is to be pushed  9 notes as they stand in a header  10 payload
-- Reply  {0}; {1, key} of a wrong type; {2} the schedule has changed, or another host was first
--
-- nothing -> ready
local wrong = wrong_type(KEYS[1], 'zset', KEYS[2], 'hash', KEYS[3], 'list')
if wrong then return {1, wrong} end
local due = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not is_schedule(KEYS[2], ARGV[2], ARGV[3], ARGV[4]) or not due or tonumber(due) > now then return {2} end
-- If the script pushed the job and did not advance the schedule, every host would push the job again.
local refused = refusal('HSET', KEYS[2], 'ZADD', KEYS[1])
if refused then return refused end
if ARGV[8] ~= '' then
  redis.call('RPUSH', KEYS[3], string.format('1 %s 0 0 %d', ARGV[8], now) .. ARGV[9] .. '\n' .. ARGV[10])
  redis.call('HSET', KEYS[2], 'last', now, 'fired', ARGV[7])
end
redis.call('HSET', KEYS[2], 'slot', ARGV[5])
redis.call('ZADD', KEYS[1], ARGV[6] ~= '' and ARGV[6] or PAUSED, ARGV[1])
return {0}
