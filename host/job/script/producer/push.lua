-- Sandhog: pushes a job with options, for producers in any language. Nothing is written where it answers an error.
--
-- KEYS   1 the queue
-- ARGV   1 payload, and any of these after it, in any order:
--        delay MS             not to be run before this has passed
--        unique KEY MS        refused while a job with the same key lives, but no longer than this
--        header NAME VALUE    for the handler, UTF-8; may be repeated; with the other words up to 16,384 bytes as
--                             stored: a byte that is not visible ASCII, `%` and `=` take three
--        id ID                the job's name, 1 to 128 visible ASCII characters; others may have the same
--        result MS            its result is wanted, and kept for so long: the list `{queue}:sandhog:result:ID` gets one
--                             entry when the job has ended, `done`, `dead`, `discarded` or `cancelled`, a line feed,
--                             and the result or the reason
--        front                before other jobs that are ready
-- Reply  {'waiting', id, how many wait}, {'delayed', id, Redis time in ms at which it is due} or
--        {'duplicate', id of the job that has the unique key}. Without options it is a plain RPUSH, and the id is ''.
local QUEUE_BYTES_MAX, ID_BYTES_MAX, UNIQUE_BYTES_MAX = 1024, 128, 1024
local HEADER_BYTES_MAX, WAIT_MS_MAX, RESULT_MS_MAX = 16384, 3155760000000, 2592000000

local mistake
local function refuse(text) mistake = mistake or 'SANDHOG ' .. text end

local function escape(text)
  return (string.gsub(text, '[^!-$&-<>-~]', function(c) return string.format('%%%02x', string.byte(c)) end))
end

local function milliseconds(text, least, what)
  local ms = text and string.find(text, '^%d+$') and tonumber(text)
  if not ms or ms < least then return refuse('`' .. what .. '` needs a whole number of milliseconds after it') end
  return string.format('%d', math.min(ms, WAIT_MS_MAX))
end

local queue, payload = KEYS[1], ARGV[1]
if #KEYS ~= 1 or not payload then refuse('one key, the queue, and at least one argument, the payload, are needed') end
queue, payload = queue or '', payload or ''
if queue == '' or #queue > QUEUE_BYTES_MAX then refuse('the name of the queue must have 1 to 1,024 bytes') end
if string.find(queue, ':sandhog:', 1, true) or string.sub(queue, 1, 8) == 'sandhog:' then
  refuse("names with `:sandhog:` in them, or `sandhog:` before them, are the host's own")
end
if is_other_in_braces(queue) then
  refuse('a queue cannot have the name of another queue in braces: both would use the same keys')
end

local id, delay, does, unique, kept, notes = nil, '', 'RPUSH', nil, '0', ''
local wants_result = false
local at = 2
while at <= #ARGV and not mistake do
  local word, first, second = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  if word == 'front' then
    does, at = 'LPUSH', at + 1
  elseif word == 'delay' then
    delay, at = milliseconds(first, 0, 'delay'), at + 2
  elseif word == 'result' then
    local kept_ms = milliseconds(first, 1, 'result')
    wants_result = true
    if kept_ms then notes = notes .. ' !result=' .. string.format('%d', math.min(kept_ms, RESULT_MS_MAX)) end
    at = at + 2
  elseif word == 'unique' then
    unique, kept, at = first or '', milliseconds(second, 1, 'unique KEY'), at + 3
    if unique == '' or #unique > UNIQUE_BYTES_MAX or not is_utf8(unique) then
      refuse('a unique key must have 1 to 1,024 bytes of UTF-8')
    end
  elseif word == 'header' then
    if not first or not second or first == '' or string.sub(first, 1, 1) == '!' then
      refuse('`header` needs a name, which does not begin with `!`, and a value after it')
    elseif #first + #second > HEADER_BYTES_MAX or #notes > HEADER_BYTES_MAX then
      refuse('the headers of the job are longer than 16,384 bytes')
    elseif not is_utf8(first) or not is_utf8(second) then
      refuse('the names and values of headers must be UTF-8')
    else
      notes = notes .. ' ' .. escape(first) .. '=' .. escape(second)
    end
    at = at + 3
  elseif word == 'id' then
    id, at = first or '', at + 2
    if #id > ID_BYTES_MAX or not string.find(id, '^[!-~]+$') then
      refuse('an id must have 1 to 128 visible ASCII characters')
    end
  else
    refuse('`' .. string.sub(word, 1, 60) .. '` is no option; known are delay, unique, header, id, result, front')
  end
end
if unique then notes = notes .. ' !unique=' .. escape(unique) end
-- What stands before the notes, an id and numbers, takes less than the rest.
if #notes + ID_BYTES_MAX + 32 > HEADER_BYTES_MAX then refuse('the headers of the job are longer than 16,384 bytes') end
if mistake then return redis.error_reply(mistake) end

local prefix = companions(queue)
local ready, delayed = prefix .. 'ready', prefix .. 'delayed'
local wrong = wrong_type(queue, 'list', ready, 'list', delayed, 'zset')
if wrong then return redis.error_reply('SANDHOG the key `' .. wrong .. '` holds another type than Sandhog keeps there') end

if not id and delay == '' and notes == '' then return {'waiting', '', redis.call(does, queue, payload)} end
if not id then
  -- Two calls never start in the same microsecond with the same arguments, except in one MULTI: Redis stops its clock
  -- there, and each push of the MULTI makes `ready` or `delayed` longer.
  local moment = time[1] .. ' ' .. time[2] .. ' ' .. redis.call('LLEN', ready) .. ' ' .. redis.call('ZCARD', delayed)
  id = 'push-' .. string.sub(redis.sha1hex(moment .. ' ' .. queue .. notes .. '\n' .. payload), 1, 32)
end
local holder = unique and prefix .. 'unique:' .. unique
local home = delay == '' and ready or delayed
local refused = (unique or wants_result) and refusal(delay == '' and does or 'ZADD', home)
  or wants_result and refusal('UNLINK', prefix .. 'result:' .. id)
if refused then return refused end
local outcome, number = put_job(ready, delayed, id, notes, payload, delay, does, holder, kept)
if outcome == 2 then
  local living = redis.pcall('GET', holder)
  return {'duplicate', type(living) == 'string' and string.match(living, '^[^ ]*') or ''}
end
-- What a former job of the same name has left is not this one's.
if wants_result then redis.call('UNLINK', prefix .. 'result:' .. id) end
return {outcome == 0 and 'waiting' or 'delayed', id, number}
