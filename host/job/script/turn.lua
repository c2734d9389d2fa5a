-- Turn: one step of a queue's feeder. Acknowledges jobs that completed, then claims new ones.
--
-- KEYS   1 list  2 ready  3 delayed  4 paused
-- ARGV   1 host  2 its epoch in ms  3 how many to claim, 0 to 512  4 least sequence number to give
--        5 LPOP or RPOP  6 "1": at most once, what is claimed is done
--        7 inflight of the host  8 stats  9 hosts  10 prefix of unique keys
--        11 how many of the fields below are enveloped; they come first  12… fields to acknowledge
-- Reply  {0, settled, now, next due or false, more, paused, first seq, {envelopes}, {payloads}}; the next due
--        is not looked for when all that was wanted was claimed
--        {1, settled} no living lease, nothing claimed
--        {2, settled, key} `key` is of a wrong type, nothing claimed
--
-- acknowledged  inflight -> gone; its unique key is let go
-- claimed       ready, due of delayed, list -> inflight (or gone, at most once). Half of the claim at most
--               comes from ready and delayed while the list has jobs. Sequence numbers: envelopes, payloads.
--
-- A read makes Redis report the next change to this client: of the key (Redis 7.2), or of all KEYS (7.0).
-- So KEYS has only what is to be watched, what is read of others is read by commands that could write but do
-- not (an increment of zero, a pop of none), and the reads that count come last.
local list, ready, delayed, paused = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local inflight, stats, hosts, unique = ARGV[7], ARGV[8], ARGV[9], ARGV[10]
local call, try = redis.call, redis.pcall
local wanted = tonumber(ARGV[3])

local function failed(answer) return type(answer) == 'table' and answer.err end

if failed(try('HDEL', inflight, '')) then return {2, 0, inflight} end

local settled = 0
local sent = #ARGV - 11
if sent > 0 then
  for i = 12, 11 + ARGV[11] do
    local record = call('HGET', inflight, ARGV[i])
    if record then free_unique(unique, record) end
  end
  for from = 12, #ARGV, 1000 do
    settled = settled + call('HDEL', inflight, unpack(ARGV, from, math.min(from + 999, #ARGV)))
  end
  count(stats, 'completed', settled)
  count(stats, 'late', sent - settled)
end
if wanted == 0 then return {0, settled, now, false, 0, 0, 0, {}, {}} end

local lease = try('ZADD', hosts, 'XX', 'INCR', 0, ARGV[1])
if failed(lease) then return {2, settled, hosts} end
if failed(try('HDEL', stats, '')) then return {2, settled, stats} end
if not lease or tonumber(lease) <= now then return {1, settled} end
local due = try('ZCOUNT', delayed, '-inf', now)
if failed(due) then return {2, settled, delayed} end
if failed(try('LPOP', list, 0)) then return {2, settled, list} end
if failed(try('LPOP', ready, 0)) then return {2, settled, ready} end

local envelopes, payloads = {}, {}
local function take_ready(most)
  for _, envelope in ipairs(call('LPOP', ready, most) or {}) do envelopes[#envelopes + 1] = envelope end
end
local function take_due(most)
  if due == 0 or most <= 0 then return end
  local taken = call('ZRANGEBYSCORE', delayed, '-inf', now, 'LIMIT', 0, most)
  if #taken > 0 then call('ZREM', delayed, unpack(taken)) end
  for _, envelope in ipairs(taken) do envelopes[#envelopes + 1] = envelope end
end

local held = call('EXISTS', paused)
if held == 0 then
  local half = math.ceil(wanted / 2)
  take_ready(half)
  take_due(half - #envelopes)
  local room = wanted - #envelopes
  payloads = room > 0 and call(ARGV[5], list, room) or payloads
  if #payloads < room and #envelopes == half then
    take_ready(room - #payloads)
    take_due(wanted - #envelopes - #payloads)
  end
end

local claimed = #envelopes + #payloads
local first = math.max(tonumber(ARGV[4]), (now - ARGV[2]) * 512)
if claimed > 0 then
  if ARGV[6] == '1' then
    for _, envelope in ipairs(envelopes) do free_unique(unique, envelope) end
  else
    local records = {}
    local seq, at = first, 0
    for i = 1, #envelopes do
      records[at + 1], records[at + 2] = string.format('e%d', seq), envelopes[i]
      seq, at = seq + 1, at + 2
    end
    for i = 1, #payloads do
      records[at + 1], records[at + 2] = seq, payloads[i]
      seq, at = seq + 1, at + 2
    end
    -- Redis packs a hash of short values and then walks through it for each acknowledgement, which at 512
    -- records doubles the cost of a job. A long field, there for a moment, makes it a table.
    if claimed >= 32 then
      local long = string.rep('-', 65)
      records[at + 1], records[at + 2] = long, ''
      call('HSET', inflight, unpack(records))
      call('HDEL', inflight, long)
    else
      call('HSET', inflight, unpack(records))
    end
  end
  count(stats, 'claimed', claimed)
end

if claimed == wanted then return {0, settled, now, false, 1, held, first, envelopes, payloads} end
local next_due = tonumber(call('ZRANGE', delayed, 0, 0, 'WITHSCORES')[2])
if next_due and next_due > 9e15 then next_due = nil end -- A time no integer holds: somebody's hand.
local more = call('LLEN', list) + call('LLEN', ready) > 0 and 1 or 0
return {0, settled, now, next_due or false, more, held, first, envelopes, payloads}
