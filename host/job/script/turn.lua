-- Turn: one step of a queue's feeder. Acknowledges jobs that completed, then claims new ones.
--
-- KEYS   1 list  2 ready  3 delayed  4 paused  5 of the part `limits`
-- ARGV   1 host  2 its epoch in ms  3 how many to claim, 0 to 512  4 least sequence number to give
--        5 LPOP or RPOP  6 "1": at most once, what is claimed is done
--        7 inflight of the host  8 stats  9 hosts  10 prefix of unique keys
--        11 most bytes of the claim; one job is claimed in any case  12 most bytes of a payload
--        13 dead  14 most dead jobs  15 their longest age in ms  16 their most bytes
--        17, 18 of the part `limits`  19 the number of this claim among the feeder's
--        20 "1": nodes of lists are not compressed and have at most 8 KiB, unless one entry is larger
--        21 how many of the fields below are enveloped; they come first  22… fields to acknowledge
-- Reply  {0, settled, now, next due or false, more, paused, first seq, {envelopes}, {payloads}, too large, least next
--        seq, limited}; the next due is not looked for when there may be more to claim. `limited` is 1 if a limit
--        is all that ended the claim; then the next due is when it lets through more, if that is known
--        {1, settled} no living lease, nothing claimed
--        {2, settled, key} `key` is of a wrong type, nothing claimed
--
-- acknowledged  inflight -> gone; its unique key is released
-- claimed       due of delayed, ready, list -> inflight (or gone, at most once). While the list has jobs, half of the
--               claim is for it; due of delayed and ready share the other half. They take turns in who comes first,
--               and so do claims of one job. Sequence numbers: envelopes, payloads, those too large.
-- held back     due of delayed, ready, list -> parked or delayed, if the limits demand it
-- too large     due of delayed, ready, list -> dead, unseen by any host; a payload that would not fit among the
--               dead jobs is dropped, and the reason says so. Its unique key is released. The same for a job whose
--               headers leave no room for the notes of the limits
--
-- A read makes Redis report the next change to this client: of the key (Redis 7.2), or of all KEYS (7.0).
-- So KEYS has only what is to be watched, what is read of others is read by commands that could write but do
-- not (an increment of zero, a pop of none), and the reads that count come last.
local list, ready, delayed, paused = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local inflight, stats, hosts, unique, dead = ARGV[7], ARGV[8], ARGV[9], ARGV[10], ARGV[13]
local call, try = redis.call, redis.pcall
local wanted = tonumber(ARGV[3])

local function failed(answer) return type(answer) == 'table' and answer.err end

if failed(try('HDEL', inflight, '')) then return {2, 0, inflight} end

local settled = 0
local sent = #ARGV - 21
if sent > 0 then
  for i = 22, 21 + ARGV[21] do
    local record = call('HGET', inflight, ARGV[i])
    if record then
      free_unique(unique, record)
      leave_key(stats, record)
    end
  end
  for from = 22, #ARGV, 1000 do
    settled = settled + call('HDEL', inflight, unpack(ARGV, from, math.min(from + 999, #ARGV)))
  end
  count(stats, 'completed', settled)
  count(stats, 'late', sent - settled)
end
if wanted == 0 then
  allow(0)
  conclude(0, 0)
  return {0, settled, now, false, 0, 0, 0, {}, {}, 0, 0, 0}
end

local lease = try('ZADD', hosts, 'XX', 'INCR', 0, ARGV[1])
if failed(lease) then return {2, settled, hosts} end
if failed(try('HDEL', stats, '')) then return {2, settled, stats} end
if not lease or tonumber(lease) <= now then return {1, settled} end
local due = try('ZCOUNT', delayed, '-inf', now)
if failed(due) then return {2, settled, delayed} end
-- False for a list that does not exist.
local has_list, has_ready = try('LPOP', list, 0), try('LPOP', ready, 0)
if failed(has_list) then return {2, settled, list} end
if failed(has_ready) then return {2, settled, ready} end
local held = try('EXISTS', paused)
-- A popped job exists only in this script until its record is written, so the script checks all further rights now.
local refused = failed(held) and held or limits_refused()
if not refused and (due > 0 or has_list or has_ready) then
  refused = ARGV[6] ~= '1' and refusal('HSET', inflight)
    or due > 0 and refusal('ZRANGEBYSCORE', delayed, 'ZREM', delayed)
    or has_list and ARGV[5] == 'RPOP' and refusal('RPOP', list)
end
-- An error now would hide that acknowledgements were accepted. If there were any, the next turn returns the error.
if refused then return settled == 0 and refused or {0, settled, now, false, 1, 0, 0, {}, {}, 0, 0, 0} end
local allowed, wrong = 0, nil
if held == 0 then allowed, wrong = allow(wanted) end
if wrong then return {2, settled, wrong} end

local envelopes, payloads, large = {}, {}, {}
local enveloped, bare, oversized = 0, 0, 0 -- How many are in these.
local bytes, bytes_max, size_max = 0, tonumber(ARGV[11]), tonumber(ARGV[12])
local work, seen = 0, 0 -- Bytes of all that was looked at, and how many these were.
local first = math.max(tonumber(ARGV[4]), (now - ARGV[2]) * 512)
local looks = math.max(allowed, looks_max)
local full = false

local function lay(record, is_envelope)
  if is_envelope then
    enveloped = enveloped + 1
    envelopes[enveloped] = record
  else
    bare = bare + 1
    payloads[bare] = record
  end
end

-- For jobs that are not held back and all have room. A call for each job would be a fifth of the cost of a claim.
local function lay_all(taken, is_envelope)
  local sum, largest = 0, 0
  for i = 1, #taken do
    local size = #taken[i]
    sum = sum + size
    if size > largest then largest = size end
  end
  if largest > size_max or bytes + sum > bytes_max then return false end
  if is_envelope then
    for i = 1, #taken do envelopes[enveloped + i] = taken[i] end
    enveloped = enveloped + #taken
  else
    for i = 1, #taken do payloads[bare + i] = taken[i] end
    bare = bare + #taken
  end
  bytes, work, seen = bytes + sum, work + sum, seen + #taken
  full = bytes >= bytes_max
  return true
end

-- For a record that is longer than a payload may be: whether its payload is short enough. A record that hosts do not
-- accept as an envelope is a payload as a whole.
local HEADER_MAX = 16896
local function has_room(record)
  if #record > size_max + HEADER_MAX then return false end
  local stop = string.find(record, '\n', 1, true)
  return stop and stop <= HEADER_MAX and #record - stop <= size_max and string.find(record, HEADER)
end

-- Lays out what was taken, as far as the claim has room; answers how many were taken for good, and how many of
-- these the limits hold back.
local function accept(taken, is_envelope, home, push)
  if looks_max == 0 and lay_all(taken, is_envelope) then return #taken, 0 end
  local held_back = 0
  for i = 1, #taken do
    local record = taken[i]
    local size = #record
    if work > 0 and (bytes + size > bytes_max or work + size > work_max or weary()) then
      full = true
      return i - 1, held_back
    end
    work, seen = work + size, seen + 1
    local why
    local fits = size <= size_max or is_envelope and has_room(record)
    if fits then
      local as_envelope = is_envelope
      if looks_max > 0 then record, as_envelope = admit(record, is_envelope, first) end
      if record then
        bytes = bytes + size
        lay(record, as_envelope)
      else
        why = as_envelope
        if not why then held_back = held_back + 1 end
      end
    end
    if not fits or why then
      bytes = bytes + size
      oversized = oversized + 1
      large[oversized] = {taken[i], home, push, why}
    end
  end
  full = bytes >= bytes_max
  return #taken, held_back
end

-- How many to pop next: one at first, then `most`, or as many as fit if they are as large as the others so far.
-- Popping jobs that do not fit costs Redis: many large jobs behind small ones would block it.
local PORTION_MAX = 4
local function portion(room, asked, most)
  if asked == 0 then return 1 end
  most = math.min(room, looks, most or PORTION_MAX)
  if work == 0 then return most end
  return math.min(most, math.floor((math.min(bytes_max, work_max) - work) / work * seen))
end

-- How many jobs may be popped at the left without knowing their sizes: the largest number of first nodes, so of at least that
-- many entries, that have 2.5 MiB together; else one. The script puts an entry of 8 KiB at the head. Redis gives it a node of
-- its own, of at most 10 KiB, and the script compares the others with that node. `MEMORY USAGE` multiplies the average size
-- of nodes by the number of all nodes; the ratio of two replies cancels that number.
local has_small_nodes = ARGV[20] == '1'
local NODE_BYTES, NODES = 8192, {{256, 1}, {64, 4}} -- How many nodes, and their average size in such entries at the most.
local probe
local function safe_portion(home)
  probe = probe or string.rep('x', NODE_BYTES)
  if failed(try('LPUSH', home, probe)) then return 1 end
  local one, safe = try('MEMORY', 'USAGE', home, 'SAMPLES', 1), 1
  for _, nodes in ipairs(NODES) do
    local all = safe == 1 and try('MEMORY', 'USAGE', home, 'SAMPLES', nodes[1])
    if type(one) == 'number' and type(all) == 'number' and all <= one * nodes[2] then safe = nodes[1] end
  end
  call('LPOP', home)
  return safe
end

-- Each of these claims up to `room` jobs from one place, and returns whether there are more.
local function take(home, pop, push, room, is_envelope)
  -- A few jobs are popped one by one, because measuring them costs as much.
  local can_measure = has_small_nodes and pop == 'LPOP'
  local asked, safe, measured = 0, can_measure and 1 or PORTION_MAX, 0
  while room > 0 and looks > 0 and not full do
    if can_measure and (safe > 1 or asked > measured + PORTION_MAX) then
      safe, measured = room > PORTION_MAX and safe_portion(home) or 1, asked
    end
    local ask = portion(room, asked, safe)
    full = ask < 1
    if full then return true end
    local taken = call(pop, home, ask)
    if not taken then return false end
    local accepted, held_back = accept(taken, is_envelope, home, push)
    for i = #taken, accepted + 1, -1 do
      -- Whoever may not put a job back keeps it.
      if failed(try(push, home, taken[i])) then lay(taken[i], is_envelope) end
    end
    if #taken < ask then return accepted < #taken end
    room, asked, looks = room - accepted + held_back, asked + ask, looks - ask
  end
  return true
end

local function take_due(room)
  local asked = 0
  while room > 0 and looks > 0 and not full do
    local ask = portion(room, asked)
    full = ask < 1
    if full then return true end
    local taken, before = call('ZRANGEBYSCORE', delayed, '-inf', now, 'LIMIT', 0, ask), oversized
    local accepted, held_back = accept(taken, true, delayed)
    -- Their scores, to put them back if they cannot be kept among the dead jobs; nothing if this user may not.
    for i = before + 1, oversized do
      local score = try('ZADD', delayed, 'XX', 'INCR', 0, large[i][1])
      large[i][3] = not failed(score) and score
    end
    if accepted > 0 then call('ZREM', delayed, unpack(taken, 1, accepted)) end
    if #taken < ask then return accepted < #taken end
    room, asked, looks = room - accepted + held_back, asked + ask, looks - ask
  end
  return true
end
local function take_ready(room) return take(ready, 'LPOP', 'LPUSH', room, true) end
local function take_list(room) return take(list, ARGV[5], ARGV[5] == 'LPOP' and 'LPUSH' or 'RPUSH', room, false) end

-- A job that no run can be given.
local dead_bytes_max = tonumber(ARGV[16])
local function bury(record, home, seq, why)
  local id, attempts, crashes = string.format('%s-%d', ARGV[1], seq), '0', '0'
  local first_seen, notes, payload = string.format('%d', now), '', record
  if home ~= list and string.find(record, HEADER) then
    local begins
    id, attempts, crashes, first_seen, notes, begins = string.match(record, HEADER)
    payload = string.sub(record, begins)
  end
  why = why or string.format('its payload has %d bytes, and `limits.value` of the plugin is %d', #payload, size_max)
  if #payload > dead_bytes_max then
    why = why .. '; it was dropped, for dead jobs may have no more than ' .. ARGV[16]
    payload = ''
  end
  -- A header that others filled to the brim keeps what it has: longer, it could not be read back.
  if #notes <= 15000 then
    notes = string.gsub(string.gsub(notes, ' !reason=[^ ]*', ''), ' !key=[^ ]*', '') .. ' !reason=' .. string.gsub(why, ' ', '%%20')
  end
  local header = string.format('1 %s %s %s %s%s\n', id, attempts, crashes, first_seen, notes)
  add_dead(dead, stats, now, header .. payload)
  tell_result(stats, header, 'dead', why)
  if home ~= list then
    free_unique(unique, record)
    leave_key(stats, record)
  end
end

if allowed > 0 then
  local nth = tonumber(ARGV[19])
  local takes, has = {take_due, take_ready, take_list}, {due > 0, has_ready, has_list}
  -- Each place has its share, however many jobs the others have; a second round fills what is left.
  local of_list = has_list and ((due > 0 or has_ready) and math.floor(allowed / 2) or allowed) or 0
  local of_due = allowed - of_list
  if has_ready then of_due = due > 0 and math.floor((of_due + 1 - nth % 2) / 2) or 0 end
  local parts = {of_due, allowed - of_list - of_due, of_list}
  for nth = nth, nth + 2 do
    local which = nth % 3 + 1
    local room = math.min(allowed == 1 and 1 or parts[which], allowed - enveloped - bare)
    if has[which] and room > 0 then has[which] = takes[which](room) end
  end
  for which = 1, 3 do
    local room = allowed - enveloped - bare
    if has[which] and room > 0 then takes[which](room) end
  end
end

if oversized > 0 and failed(try('ZADD', dead, 'XX', 'INCR', 0, '')) then
  -- If dead jobs cannot be kept, a job goes back to its list. If this user may not put it back, the host claims it.
  for i = oversized, 1, -1 do
    local record, home, back = large[i][1], large[i][2], large[i][3]
    local is_back
    if home == delayed then
      is_back = back and not failed(try('ZADD', delayed, back, record))
    else
      is_back = not failed(try(back, home, record))
    end
    if not is_back then lay(record, home ~= list) end
  end
  if enveloped + bare == 0 then return {2, settled, dead} end
  oversized = 0
end

local claimed = enveloped + bare
if claimed > 0 then
  if ARGV[6] == '1' then
    for _, envelope in ipairs(envelopes) do
      free_unique(unique, envelope)
      leave_key(stats, envelope)
    end
  else
    local records = {}
    local seq, at = first, 0
    for i = 1, enveloped do
      records[at + 1], records[at + 2] = string.format('e%d', seq), envelopes[i]
      seq, at = seq + 1, at + 2
    end
    for i = 1, bare do
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

if oversized > 0 then
  for i = 1, oversized do bury(large[i][1], large[i][2], first + claimed + i - 1, large[i][4]) end
  count(stats, 'claimed', oversized)
  count(stats, 'buried', oversized)
  trim_dead(dead, stats, now, tonumber(ARGV[14]), tonumber(ARGV[15]), dead_bytes_max)
end

local cut, opens
if held == 0 then cut, opens = conclude(claimed, allowed) end
if cut then return {0, settled, now, opens or false, 0, held, first, envelopes, payloads, oversized, spare(first), 1} end
if held == 0 and (claimed == allowed or full or oversized > 0 or looks <= 0 or is_owed()) then
  return {0, settled, now, false, 1, held, first, envelopes, payloads, oversized, spare(first), 0}
end
-- An error now would hide the claimed jobs.
local read = (claimed > 0 or settled > 0) and try or call
local next_due = tonumber(read('ZRANGE', delayed, 0, 0, 'WITHSCORES')[2])
if next_due and next_due > 9e15 then next_due = nil end -- A time no integer holds: somebody's hand.
local more = (tonumber(read('LLEN', list)) or 0) + (tonumber(read('LLEN', ready)) or 0) > 0 and 1 or 0
return {0, settled, now, look_by(next_due) or false, more, held, first, envelopes, payloads, 0, spare(first), 0}
