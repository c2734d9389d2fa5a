-- Discard: an operator discards jobs that do not run, a page at a time. A page ends early when it has read many bytes, so
-- that Redis can serve other clients soon.
--
-- KEYS   1 ready, delayed or dead  2 stats
-- ARGV   1 ready, delayed or dead  2 jobs to skip  3 jobs to look at  4 most jobs to discard
--        5 bytes after which the page ends  6 prefix of unique keys  7… job ids; none for all
-- Reply  {0, discarded, jobs to skip for the next page or false, {their ids, if ids were given}};
--        {1, key} of a wrong type
--
-- ready, delayed, dead -> gone; the unique key is released
local source, stats, is_list = KEYS[1], KEYS[2], ARGV[1] == 'ready'
local wrong = wrong_type(source, is_list and 'list' or 'zset', stats, 'hash')
if wrong then return {1, wrong} end
-- If this script marked a record and did not remove it, a host would run the mark as a job.
local refused = is_list and refusal('LLEN', source, 'LSET', source, 'LREM', source) or refusal(is_list and 'LLEN' or 'ZCARD', source)
if refused then return refused end
local wanted = {}
for i = 7, #ARGV do wanted[ARGV[i]] = true end
local skip, look, most, bytes_max = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local looked, read, gone, gone_bytes, found = 0, 0, 0, 0, {}
-- This page leaves out parked jobs that become ready meanwhile.
local size = redis.call(is_list and 'LLEN' or 'ZCARD', source)
look = math.min(look, math.max(size - skip, 0))
local function is_full() return looked >= look or read >= bytes_max or gone == most end
-- In a list, the discarded jobs are replaced by a mark, and all marks are removed at the end: one walk over the list
-- instead of one for each job.
local mark = 'sandhog:discarded:' .. redis.sha1hex(source .. time[1] .. time[2])

local function discard(record, at)
  looked, read = looked + 1, read + #record
  local id = string.match(record, HEADER)
  if #ARGV > 6 and not wanted[id or ''] then return end
  if #ARGV > 6 then found[#found + 1] = id end
  if is_list then redis.call('LSET', source, at, mark) else redis.call('ZREM', source, record) end
  free_unique(ARGV[6], record)
  leave_key(stats, record)
  if ARGV[1] ~= 'dead' then tell_result(stats, record, 'discarded', '') end
  gone, gone_bytes = gone + 1, gone_bytes + #record
end

local has_more = true
while has_more and not is_full() do
  local ask, from = next_portion(looked, read, bytes_max, look - looked), skip + looked - (is_list and 0 or gone)
  local records = redis.call(is_list and 'LRANGE' or 'ZRANGE', source, from, from + ask - 1)
  for i, record in ipairs(records) do
    if not is_full() then discard(record, from + i - 1) end
  end
  has_more = #records == ask
end
count(stats, 'discarded', gone)
if gone > 0 and is_list then
  local from_tail = skip * 2 > redis.call('LLEN', source)
  redis.call('LREM', source, from_tail and -gone or gone, mark)
  void_round(stats)
end
if ARGV[1] == 'dead' then change_dead(source, stats, -gone, -gone_bytes) end
local next_skip = skip + looked - gone
return {0, gone, skip + looked < size and next_skip, found}
