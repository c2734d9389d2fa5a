-- Writes down a schedule that an operator has given.
--
-- KEYS   1 schedules  2 the schedule
-- ARGV   1 name  2 definition  3 what its times depend on  4 first slot  5 when that is due  6 most schedules
-- Reply  {0, 'added', 'changed' or 'unchanged'}; {1, key} of a wrong type; {2} it is in the files of hosts;
--        {3} there are too many
local wrong = wrong_type(KEYS[1], 'zset', KEYS[2], 'hash')
if wrong then return {1, wrong} end
local there = redis.call('ZSCORE', KEYS[1], ARGV[1])
if there and redis.call('HGET', KEYS[2], 'origin') == 'file' then return {2} end
if not there and redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[6]) then return {3} end
local what = set_schedule(KEYS[1], KEYS[2], ARGV[1], 'redis', ARGV[2], ARGV[3], ARGV[4], ARGV[5]) or 'unchanged'
return type(what) == 'table' and what or {0, what}
