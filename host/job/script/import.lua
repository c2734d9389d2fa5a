-- Import: adds exported jobs that are not in the queue to the place they came from. Refused while Redis has reached
-- its memory limit.
--
-- KEYS   1 ready, delayed or dead  2 stats
-- ARGV   1 ready, delayed or dead  2 prefix of unique keys  3… for each: its time in ms, its record
-- Reply  {0, added, duplicates: skipped, because a living job has their unique key}; {1, key} of a wrong type
--
-- nothing -> ready, delayed, dead; all but dead jobs take their unique key
local place, stats = KEYS[1], KEYS[2]
local wrong = wrong_type(place, ARGV[1] == 'ready' and 'list' or 'zset', stats, 'hash')
if wrong then return {1, wrong} end
local refused = refusal(ARGV[1] == 'ready' and 'RPUSH' or 'ZADD', place)
  or ARGV[1] ~= 'dead' and refusal('SET', ARGV[2])
if refused then return refused end
local added, duplicates, bytes = 0, 0, 0
for i = 3, #ARGV, 2 do
  local record = ARGV[i + 1]
  if ARGV[1] ~= 'dead' then record = take_unique(ARGV[2], record) end
  if not record then
    duplicates = duplicates + 1
  else
    added = added + 1
    if ARGV[1] == 'ready' then
      redis.call('RPUSH', place, record)
    else
      bytes = bytes + #add_record(place, ARGV[i], record)
    end
  end
end
if ARGV[1] == 'dead' then change_dead(place, stats, added, bytes) end
return {0, added, duplicates}
