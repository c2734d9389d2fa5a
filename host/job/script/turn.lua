-- Turn: one step of a queue's feeder. Acknowledges jobs that completed, then claims new ones.
--
-- KEYS   1 list  2 ready  3 delayed  4 inflight of the host  5 stats  6 paused  7 hosts
-- ARGV   1 host  2 its epoch in ms  3 how many to claim, 0 to 512  4 least sequence number to give
--        5 LPOP or RPOP  6 "1": at most once, what is claimed is done  7 prefix of unique keys
--        8 how many of the fields below are enveloped; they come first  9… fields to acknowledge
-- Reply  {0, settled, now, next due or false, more, paused, first seq, {envelopes}, {payloads}}
--        {1, settled} no living lease, nothing claimed
--        {2, settled, key} `key` is of a wrong type, nothing claimed (nor settled, if it is inflight or stats)
--
-- acknowledged  inflight -> gone; its unique key is let go
-- claimed       ready, due of delayed, list -> inflight (or gone, at most once). Half of the claim at most
--               comes from ready and delayed while the list has jobs. Sequence numbers: envelopes, payloads.
--
-- No key is read unless it is to be watched: a read makes Redis report the key's next change to this client.
-- Hence the checks of types by commands that write nothing, and of the lease by an increment of zero.
local list, ready, delayed, inflight, stats = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local call, try = redis.call, redis.pcall
local wanted = tonumber(ARGV[3])

local function failed(answer) return type(answer) == 'table' and answer.err end

if failed(try('HDEL', inflight, '')) then return {2, 0, inflight} end
if failed(try('HDEL', stats, '')) then return {2, 0, stats} end

local settled = 0
local sent = #ARGV - 8
if sent > 0 then
  for i = 9, 8 + ARGV[8] do
    local record = call('HGET', inflight, ARGV[i])
    if record then free_unique(ARGV[7], record) end
  end
  for from = 9, #ARGV, 1000 do
    settled = settled + call('HDEL', inflight, unpack(ARGV, from, math.min(from + 999, #ARGV)))
  end
  count(stats, 'completed', settled)
  count(stats, 'late', sent - settled)
end
if wanted == 0 then return {0, settled, now, false, 0, 0, 0, {}, {}} end

local lease = try('ZADD', KEYS[7], 'XX', 'INCR', 0, ARGV[1])
if failed(lease) then return {2, settled, KEYS[7]} end
if not lease or tonumber(lease) <= now then return {1, settled} end
local head = try('ZRANGE', delayed, 0, 0, 'WITHSCORES')
if failed(head) then return {2, settled, delayed} end
if failed(try('LPOP', list, 0)) then return {2, settled, list} end
if failed(try('LPOP', ready, 0)) then return {2, settled, ready} end

local envelopes, payloads = {}, {}
local function take_ready(most)
  for _, envelope in ipairs(call('LPOP', ready, most) or {}) do envelopes[#envelopes + 1] = envelope end
end
local function take_due(most)
  if most <= 0 or not head[2] or tonumber(head[2]) > now then return end
  local due = call('ZRANGEBYSCORE', delayed, '-inf', now, 'LIMIT', 0, most)
  if #due > 0 then call('ZREM', delayed, unpack(due)) end
  for _, envelope in ipairs(due) do envelopes[#envelopes + 1] = envelope end
  head = call('ZRANGE', delayed, 0, 0, 'WITHSCORES')
end

local paused = call('EXISTS', KEYS[6])
if paused == 0 then
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
    for _, envelope in ipairs(envelopes) do free_unique(ARGV[7], envelope) end
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
    call('HSET', inflight, unpack(records))
  end
  count(stats, 'claimed', claimed)
end

local more = 1
if claimed < wanted then
  local waiting = call('LLEN', list)
  more = waiting + call('LLEN', ready) > 0 and 1 or 0
end
local due = tonumber(head[2])
if due and due > 9e15 then due = nil end -- A time no integer holds: somebody's hand.
return {0, settled, now, due or false, more, paused, first, envelopes, payloads}
