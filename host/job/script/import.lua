-- Import: jobs that were exported come back to their place. Refused while Redis has reached its memory limit.
--
-- KEYS   1 ready, delayed or dead  2 stats
-- ARGV   1 ready, delayed or dead  2… for each: its time in ms, its record
-- Reply  {0, added}: the others were there, to the byte; {1, key} of a wrong type
--
-- nothing -> ready, delayed, dead
local place, stats = KEYS[1], KEYS[2]
local wrong = wrong_type(place, ARGV[1] == 'ready' and 'list' or 'zset', stats, 'hash')
if wrong then return {1, wrong} end
local added, bytes = 0, 0
for i = 2, #ARGV, 2 do
  local record = ARGV[i + 1]
  if ARGV[1] == 'ready' then
    redis.call('RPUSH', place, record)
    added = added + 1
  elseif redis.call('ZADD', place, 'NX', ARGV[i], record) == 1 then
    added, bytes = added + 1, bytes + #record
  end
end
if ARGV[1] == 'dead' then count(stats, 'dead_bytes', bytes) end
return {0, added}
