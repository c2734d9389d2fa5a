-- Revive: an operator makes these very jobs ready now, one of them perhaps with another payload.
--
-- KEYS   1 dead or delayed  2 stats  3 ready
-- ARGV   1 dead or delayed  2 "1": with the payload in 3  3 a payload  4… their records
-- Reply  {0, moved}; {1, key} of a wrong type
--
-- delayed -> ready
-- dead -> ready, with no attempts and no crashes
local source, stats, ready = KEYS[1], KEYS[2], KEYS[3]
local wrong = wrong_type(source, 'zset', stats, 'hash', ready, 'list')
if wrong then return {1, wrong} end
local moved, bytes = 0, 0
for i = 4, #ARGV do
  local record = ARGV[i]
  if redis.call('ZREM', source, record) == 1 then
    moved, bytes = moved + 1, bytes + #record
    local id, attempts, crashes, first_seen, notes, begins = string.match(record, HEADER)
    if id then
      if ARGV[1] == 'dead' then attempts, crashes = '0', '0' end
      local payload = ARGV[2] == '1' and ARGV[3] or string.sub(record, begins)
      record = string.format('1 %s %s %s %s%s\n', id, attempts, crashes, first_seen, notes) .. payload
    end
    redis.call('RPUSH', ready, record)
  end
end
if moved > 0 and ARGV[1] == 'dead' then drop_dead_bytes(source, stats, bytes) end
return {0, moved}
