-- Revive: an operator makes exactly these jobs ready now, one of them perhaps with another payload.
--
-- KEYS   1 dead or delayed  2 stats  3 ready
-- ARGV   1 dead or delayed  2 "1": with the payload in 3  3 a payload  4 prefix of unique keys  5… their records
-- Reply  {0, moved, duplicates: they stay dead, because a living job has their unique key, {ids of all these}};
--        {1, key} of a wrong type
--
-- delayed -> ready
-- dead -> ready, with no attempts and no crashes; it takes its unique key again
local source, stats, ready = KEYS[1], KEYS[2], KEYS[3]
local wrong = wrong_type(source, 'zset', stats, 'hash', ready, 'list')
if wrong then return {1, wrong} end
local refused = refusal('ZREM', source, 'RPUSH', ready) or ARGV[1] == 'dead' and refusal('SET', ARGV[4])
if refused then return refused end
local moved, duplicates, bytes, found = 0, 0, 0, {}
for i = 5, #ARGV do
  local record = ARGV[i]
  if redis.call('ZSCORE', source, record) then
    local living = record
    found[#found + 1] = string.match(record, HEADER)
    if ARGV[1] == 'dead' then living = live_again(ARGV[4], record) end
    if living then
      redis.call('ZREM', source, record)
      moved, bytes = moved + 1, bytes + #record
      local begins = select(8, string.find(living, HEADER))
      if begins and ARGV[2] == '1' then living = string.sub(living, 1, begins - 1) .. ARGV[3] end
      redis.call('RPUSH', ready, living)
    else
      duplicates = duplicates + 1
    end
  end
end
if ARGV[1] == 'dead' then change_dead(source, stats, -moved, -bytes) end
return {0, moved, duplicates, found}
