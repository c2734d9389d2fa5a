-- Requeue: an operator makes jobs ready now, a page at a time. Dead ones begin anew.
--
-- KEYS   1 dead or delayed  2 stats  3 ready
-- ARGV   1 dead or delayed  2 jobs to skip  3 jobs to look at  4 most jobs to move  5… job ids; none for all
-- Reply  {0, moved, jobs to skip for the next page or false}; {1, key} of a wrong type
--
-- delayed -> ready
-- dead -> ready, with no attempts and no crashes
local source, stats, ready = KEYS[1], KEYS[2], KEYS[3]
local wrong = wrong_type(source, 'zset', stats, 'hash', ready, 'list')
if wrong then return {1, wrong} end
local wanted = {}
for i = 5, #ARGV do wanted[ARGV[i]] = true end
local skip, look, most = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local records = redis.call('ZRANGE', source, skip, skip + look - 1)
local moved, bytes = 0, 0
for _, record in ipairs(records) do
  if moved == most then break end
  local id, _, _, first_seen, notes, begins = string.match(record, HEADER)
  if #ARGV < 5 or wanted[id or ''] then
    redis.call('ZREM', source, record)
    moved, bytes = moved + 1, bytes + #record
    if id and ARGV[1] == 'dead' then
      record = string.format('1 %s 0 0 %s%s\n', id, first_seen, notes) .. string.sub(record, begins)
    end
    redis.call('RPUSH', ready, record)
  end
end
if moved > 0 and ARGV[1] == 'dead' then drop_dead_bytes(source, stats, bytes) end
return {0, moved, #records == look and skip + #records - moved}
