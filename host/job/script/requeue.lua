-- Requeue: an operator makes jobs ready now, a page at a time. Dead ones start again. A page ends early when it has read
-- many bytes, so that Redis can serve other clients soon.
--
-- KEYS   1 dead or delayed  2 stats  3 ready
-- ARGV   1 dead or delayed  2 jobs to skip  3 jobs to look at  4 most jobs to move, duplicates included
--        5 bytes after which the page ends  6 prefix of unique keys  7… job ids; none for all
-- Reply  {0, moved, jobs to skip for the next page or false, duplicates: they stay dead, because a living job has their
--        unique key, {ids of all these, if ids were given}}; {1, key} of a wrong type
--
-- delayed -> ready
-- dead -> ready, with no attempts and no crashes; it takes its unique key again
local source, stats, ready = KEYS[1], KEYS[2], KEYS[3]
local wrong = wrong_type(source, 'zset', stats, 'hash', ready, 'list')
if wrong then return {1, wrong} end
local refused = refusal('ZREM', source, 'ZCARD', source, 'RPUSH', ready) or ARGV[1] == 'dead' and refusal('SET', ARGV[6])
if refused then return refused end
local wanted = {}
for i = 7, #ARGV do wanted[ARGV[i]] = true end
local skip, look, most, bytes_max = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local looked, read, moved, moved_bytes, duplicates, found = 0, 0, 0, 0, 0, {}
local function is_full() return looked == look or read >= bytes_max or moved + duplicates == most end

local function requeue(record)
  looked, read = looked + 1, read + #record
  local id = string.match(record, HEADER)
  if #ARGV > 6 and not wanted[id or ''] then return end
  if #ARGV > 6 then found[#found + 1] = id end
  local living = record
  if ARGV[1] == 'dead' then living = live_again(ARGV[6], record) end
  if not living then
    duplicates = duplicates + 1
    return
  end
  redis.call('ZREM', source, record)
  redis.call('RPUSH', ready, living)
  moved, moved_bytes = moved + 1, moved_bytes + #record
end

local has_more = true
while has_more and not is_full() do
  local ask, from = next_portion(looked, read, bytes_max, look - looked), skip + looked - moved
  local records = redis.call('ZRANGE', source, from, from + ask - 1)
  for _, record in ipairs(records) do
    if not is_full() then requeue(record) end
  end
  has_more = #records == ask
end
if ARGV[1] == 'dead' then change_dead(source, stats, -moved, -moved_bytes) end
local next_skip = skip + looked - moved
return {0, moved, next_skip < redis.call('ZCARD', source) and next_skip, duplicates, found}
