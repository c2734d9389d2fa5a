-- Reap: takes back what a dead host had in flight in one queue, a page at a time.
--
-- KEYS   1 inflight of that host  2 stats  3 ready  4 dead  5 hosts  6 list
-- ARGV   1 that host  2 its epoch in ms  3 "1": by force, its lease does not matter; "2": the same, counting no crash
--        4 crashes at which a job is poison  5 most records  6 most bytes  7 most dead jobs  8 longest age in ms
--        9 most dead bytes  10 prefix of unique keys
-- Reply  {0, moved, buried, left}; {1} the host lives; {2, key} `key` is of a wrong type
--
-- inflight -> ready, in the order of sequence numbers, with one more crash unless told otherwise
-- inflight -> dead at the poison limit; its unique key is released
-- inflight -> the list, entries that runs had popped, before anything else: the last one taken first
local inflight, stats, ready, dead = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
if wrong_type(KEYS[5], 'zset') then return {2, KEYS[5]} end
local lease = redis.call('ZSCORE', KEYS[5], ARGV[1])
if ARGV[3] == '0' and lease and tonumber(lease) > now then return {1} end
-- A queue in which the host has no jobs must not keep the host registered, whatever the queue's keys hold.
if redis.call('EXISTS', inflight) == 0 then
  forget_list(inflight, KEYS[6])
  return {0, 0, 0, 0}
end
local wrong = wrong_type(inflight, 'hash', stats, 'hash', ready, 'list', dead, 'zset')
if wrong then return {2, wrong} end
local crash = ARGV[3] == '2' and 0 or 1

local fields, popped = fields_of(inflight)
if #popped > 0 and wrong_type(KEYS[6], 'list') then return {2, KEYS[6]} end
local refused = refusal('RPUSH', ready, 'ZADD', dead)
if refused then return refused end
local records_max, poison, bytes_max = tonumber(ARGV[5]), tonumber(ARGV[4]), tonumber(ARGV[6])
local back, moved, buried, bytes = 0, 0, 0, 0
by_number(popped, true)
while back < math.min(#popped, records_max) and bytes < bytes_max do
  back = back + 1
  bytes = bytes + put_back(inflight, popped[back], KEYS[6])
end

by_number(fields)
for i = 1, math.min(#fields, records_max - back) do
  if bytes >= bytes_max then break end
  local field, seq = fields[i], seq_of(fields[i])
  local record = redis.call('HGET', inflight, field)
  redis.call('HDEL', inflight, field)
  -- A bare record: its sequence number tells who claimed it and when.
  local id = ARGV[1] .. '-' .. string.format('%d', seq)
  local attempts, crashes, notes, payload = '0', '0', '', record
  local first_seen = string.format('%d', ARGV[2] + math.floor(seq / 512))
  if string.byte(field) == 101 and string.find(record, HEADER) then
    local begins
    id, attempts, crashes, first_seen, notes, begins = string.match(record, HEADER)
    payload = string.sub(record, begins)
  end
  crashes = math.min(crashes + crash, 4294967295)
  local is_poison = crash == 1 and crashes >= poison
  if is_poison then
    if string.byte(field) == 101 then
      free_unique(ARGV[10], record)
      leave_key(stats, record)
      notes = string.gsub(notes, ' !key=[^ ]*', '')
    end
    -- A header that others filled to the brim keeps what it has: longer, it could not be read back.
    notes = #notes > 16000 and notes or string.gsub(notes, ' !reason=[^ ]*', '')
      .. string.format(' !reason=its%%20host%%20died%%20%d%%20times%%20while%%20it%%20ran', crashes)
  end
  local envelope = string.format('1 %s %s %d %s%s\n', id, attempts, crashes, first_seen, notes) .. payload
  if is_poison then
    add_dead(dead, stats, now, envelope)
    tell_result(stats, envelope, 'dead', reason_of(envelope))
    buried = buried + 1
  else
    keep_key(stats, envelope)
    redis.call('RPUSH', ready, envelope)
    moved = moved + 1
  end
  bytes = bytes + #record
end
count(stats, crash == 1 and 'reaped' or 'released', moved + buried)
count(stats, 'buried', buried)
if buried > 0 then
  trim_dead(dead, stats, now, tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9]))
end
forget_list(inflight, KEYS[6])
return {0, back + moved, buried, #popped + #fields - back - moved - buried}
