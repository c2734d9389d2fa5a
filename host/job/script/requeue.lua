-- Requeue: an operator makes jobs ready now, a page at a time. Dead ones start again.
--
-- KEYS   1 dead or delayed  2 stats  3 ready
-- ARGV   1 dead or delayed  2 jobs to skip  3 jobs to look at  4 most jobs to move, duplicates included
--        5 prefix of unique keys  6… job ids; none for all
-- Reply  {0, moved, jobs to skip for the next page or false, duplicates: they stay dead, because a living job has their
--        unique key, {ids of all these, if ids were given}}; {1, key} of a wrong type
--
-- delayed -> ready
-- dead -> ready, with no attempts and no crashes; it takes its unique key again
local source, stats, ready = KEYS[1], KEYS[2], KEYS[3]
local wrong = wrong_type(source, 'zset', stats, 'hash', ready, 'list')
if wrong then return {1, wrong} end
local refused = refusal('ZREM', source, 'RPUSH', ready) or ARGV[1] == 'dead' and refusal('SET', ARGV[5])
if refused then return refused end
local wanted = {}
for i = 6, #ARGV do wanted[ARGV[i]] = true end
local skip, look, most = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local records = redis.call('ZRANGE', source, skip, skip + look - 1)
local looked, moved, duplicates, bytes, found = 0, 0, 0, 0, {}
for _, record in ipairs(records) do
  if moved + duplicates == most then break end
  looked = looked + 1
  local id = string.match(record, HEADER)
  if #ARGV < 6 or wanted[id or ''] then
    local living = ARGV[1] == 'dead' and live_again(ARGV[5], record) or ARGV[1] ~= 'dead' and record
    if living then
      redis.call('ZREM', source, record)
      redis.call('RPUSH', ready, living)
      moved, bytes = moved + 1, bytes + #record
    else
      duplicates = duplicates + 1
    end
    if #ARGV > 5 then found[#found + 1] = id end
  end
end
if ARGV[1] == 'dead' then change_dead(source, stats, -moved, -bytes) end
return {0, moved, (looked < #records or #records == look) and skip + looked - moved, duplicates, found}
