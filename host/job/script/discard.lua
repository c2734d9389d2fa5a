-- Discard: an operator discards jobs that do not run, a page at a time.
--
-- KEYS   1 ready, delayed or dead  2 stats
-- ARGV   1 ready, delayed or dead  2 jobs to skip  3 jobs to look at  4 most jobs to discard
--        5 prefix of unique keys  6… job ids; none for all
-- Reply  {0, discarded, jobs to skip for the next page or false, {their ids, if ids were given}};
--        {1, key} of a wrong type
--
-- ready, delayed, dead -> gone; the unique key is released
local source, stats = KEYS[1], KEYS[2]
local wrong = wrong_type(source, ARGV[1] == 'ready' and 'list' or 'zset', stats, 'hash')
if wrong then return {1, wrong} end
local wanted = {}
for i = 6, #ARGV do wanted[ARGV[i]] = true end
local skip, look, most = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local read = ARGV[1] == 'ready' and 'LRANGE' or 'ZRANGE'
local records = redis.call(read, source, skip, skip + look - 1)
local looked, gone, bytes, found = 0, 0, 0, {}
for _, record in ipairs(records) do
  if gone == most then break end
  looked = looked + 1
  local id = string.match(record, HEADER)
  if #ARGV < 6 or wanted[id or ''] then
    if ARGV[1] == 'ready' then
      redis.call('LREM', source, 1, record)
    else
      redis.call('ZREM', source, record)
    end
    free_unique(ARGV[5], record)
    leave_key(stats, record)
    if ARGV[1] ~= 'dead' then tell_result(stats, record, 'discarded', '') end
    gone, bytes = gone + 1, bytes + #record
    if #ARGV > 5 then found[#found + 1] = id end
  end
end
count(stats, 'discarded', gone)
if gone > 0 and ARGV[1] == 'ready' then void_round(stats) end
if ARGV[1] == 'dead' then change_dead(source, stats, -gone, -bytes) end
return {0, gone, (looked < #records or #records == look) and skip + looked - gone, found}
