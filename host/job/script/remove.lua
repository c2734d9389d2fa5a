-- Remove: an operator takes these very jobs away, wherever they wait by now.
--
-- KEYS   1 the list, ready, delayed or dead, or the list of a key with parked jobs  2 stats
-- ARGV   1 list, ready, delayed, dead or parked  2 counter: discarded or cancelled  3 prefix of unique keys
--        4 where the first of them stood in a list  5 how many stood from there to the last  6… their records
-- Reply  {0, removed, {their ids}}; {1, key} of a wrong type
--
-- list, ready, delayed, dead, parked -> gone; the unique key is released, and the slot of its key
local LOOK_BACK_MAX = 512
local LOOK_BYTES_MAX = 4194304
local source, stats = KEYS[1], KEYS[2]
local kind, from, span = ARGV[1], tonumber(ARGV[4]), tonumber(ARGV[5])
local is_list = kind == 'list' or kind == 'ready' or kind == 'parked'
local wrong = wrong_type(source, is_list and 'list' or 'zset', stats, 'hash')
if wrong then return {1, wrong} end
-- If this script marked a record and did not remove it, a host would run the mark as a job.
local refused = is_list and refusal('LLEN', source, 'LSET', source, 'LREM', source)
if refused then return refused end
local gone, bytes, found = 0, 0, {}

local function removed(record)
  gone, bytes = gone + 1, bytes + #record
  if kind == 'list' then return end
  found[#found + 1] = string.match(record, HEADER)
  free_unique(ARGV[3], record)
  if kind == 'parked' then unpark(stats, record) else leave_key(stats, record) end
  if kind ~= 'dead' then tell_result(stats, record, ARGV[2], '') end
end

if not is_list then
  for i = 6, #ARGV do
    if redis.call('ZREM', source, ARGV[i]) == 1 then removed(ARGV[i]) end
  end
else
  local wanted, left = {}, #ARGV - 5
  for i = 6, #ARGV do wanted[ARGV[i]] = (wanted[ARGV[i]] or 0) + 1 end
  local mark = 'sandhog:removed:' .. redis.sha1hex(ARGV[6] .. now .. time[2])
  local marked, looked, looked_bytes = 0, 0, 0
  -- One pass over the list for all of them instead of one for each. Claims have moved them towards the head since.
  local function look(first, last)
    for i, record in ipairs(redis.call('LRANGE', source, first, last)) do
      looked, looked_bytes = looked + 1, looked_bytes + #record
      if (wanted[record] or 0) > 0 then
        wanted[record], left, marked = wanted[record] - 1, left - 1, marked + 1
        redis.call('LSET', source, first + i - 1, mark)
        removed(record)
      end
    end
  end
  local last = from + span - 1
  while left > 0 and last >= 0 and from - last <= LOOK_BACK_MAX and looked_bytes < LOOK_BYTES_MAX do
    local first = math.max(0, last + 1 - next_portion(looked, looked_bytes, LOOK_BYTES_MAX, RECORDS_AT_ONCE))
    look(first, last)
    last = first - 1
  end
  if marked > 0 then
    local from_tail = from * 2 > redis.call('LLEN', source)
    redis.call('LREM', source, from_tail and -marked or marked, mark)
  end
  for record, count in pairs(wanted) do
    if count > 0 then
      for _ = 1, redis.call('LREM', source, count, record) do removed(record) end
    end
  end
end
count(stats, ARGV[2], gone)
if gone > 0 and kind == 'ready' then void_round(stats) end
if kind == 'dead' then change_dead(source, stats, -gone, -bytes) end
return {0, gone, found}
