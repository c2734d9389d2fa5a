-- Schedules for people to look at, by the time they are due.
--
-- KEYS   1 schedules
-- ARGV   1 what the keys of schedules begin with  2 how many to leave out  3 how many to tell at most
--        4 longest field of a schedule in bytes: '' is returned instead of a longer one
-- Reply  {0, name, due, slot, definition, origin, paused since or '', last fired or '', …}; {1, key} of a wrong type
local wrong = wrong_type(KEYS[1], 'zset')
if wrong then return {1, wrong} end
local reply = {0}
local found = redis.call('ZRANGE', KEYS[1], ARGV[2], ARGV[2] + ARGV[3] - 1, 'WITHSCORES')
for i = 1, #found, 2 do
  local key = ARGV[1] .. found[i]
  wrong = wrong_type(key, 'hash')
  if wrong then return {1, wrong} end
  local known = short(key, tonumber(ARGV[4]), 'slot', 'definition', 'origin', 'paused', 'last')
  local size = #reply
  -- A name this long is not that of a schedule.
  reply[size + 1], reply[size + 2] = string.sub(found[i], 1, 256), tonumber(found[i + 1])
  for n = 1, 5 do reply[size + 2 + n] = known[n] or '' end
end
return reply
