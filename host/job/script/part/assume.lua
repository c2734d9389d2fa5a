-- Part, needs `stream`, `gather`, `key_page`: what a run saw and decided on.
-- ARGV   of an assumption: what was seen, the key (a page: the pattern), and
--        absent, present  nothing more        value   the value
--        digest  length, SHA-1                expires what PEXPIRETIME answered
--        longer  bytes of which it has more
--        length  entries of the list          range   first index, last index, SHA-1, bytes together
--        page    cursor, looks, enough, longest key (see `key_page`), next cursor, number of keys, these
-- assume(at) -> where they end, and the writes begin; or nil, what is wrong with the first one that does not hold,
-- its key: 'conflict', or 'permission' if this user may not look.
-- A SHA-1 of several strings is that of `<length>:<string>` for each, one after the other.
-- look_ahead(at, last, keys) notes the keys that are taken to be absent at first.
-- denied(answer) -> whether Redis refused a read to this user, rather than for the key's type.
local function denied(answer)
  return type(answer) == 'table' and answer.err and not string.find(answer.err, 'WRONGTYPE', 1, true)
end

local function digest(strings)
  local parts = {}
  for i, text in ipairs(strings) do parts[2 * i - 1], parts[2 * i] = #text .. ':', text end
  return redis.sha1hex(table.concat(parts))
end

-- The entries of a list between two indexes, if together they have this many bytes; nil if they have more, because other
-- clients may have replaced them by long entries; or an error of Redis.
local function entries_of(key, first, last, bytes)
  local entries = {}
  for from = first, last, 4 do
    local till = math.min(from + 3, last)
    local some = try('LRANGE', key, from, till)
    if some.err then return some end
    for _, entry in ipairs(some) do
      bytes = bytes - #entry
      entries[#entries + 1] = entry
    end
    if bytes < 0 then return nil end
    if #some <= till - from then break end
  end
  return entries
end

-- Whether the page that stands at `at` has the same keys still, in whatever order: Redis lists them in another one when
-- its table of keys has grown.
local function is_page(at)
  local page = key_page(argv[at + 1], argv[at + 2], tonumber(argv[at + 3]), tonumber(argv[at + 4]), tonumber(argv[at + 5]))
  if page[1] ~= argv[at + 6] then return false end
  local missing, count = {}, 0
  for i = at + 8, at + 7 + argv[at + 7] do
    if not missing[argv[i]] then count = count + 1 end
    missing[argv[i]] = true
  end
  for i = 2, #page do
    local key = page[i]
    if missing[key] == nil then return false end
    if missing[key] then count = count - 1 end
    missing[key] = false
  end
  return count == 0
end

-- Arguments of each; a page has its keys in addition.
local ASSUMPTIONS = {absent = 2, present = 2, value = 3, digest = 4, longer = 3, expires = 3, length = 3, range = 6, page = 8}

local LOOKS_MAX = 1000 -- At some thousands `unpack` fails.

local function look_ahead(at, last, keys)
  while at <= last and argv[at] == 'absent' and #keys < LOOKS_MAX do
    keys[#keys + 1] = argv[at + 1]
    at = at + 2
  end
end

local function assume(at)
  local size = ASSUMPTIONS[argv[at]]
  while size do
    local seen, key, first = argv[at], argv[at + 1], argv[at + 2]
    local answer, holds
    if seen == 'page' then settle_all() else settle(key) end
    if seen == 'absent' then
      answer = fresh[key] and 0 or try('EXISTS', key)
      holds = answer == 0
    elseif seen == 'present' then
      answer = try('EXISTS', key)
      holds = answer == 1
    elseif seen == 'value' then
      -- One byte more than expected would show a longer one.
      answer = try('GETRANGE', key, '0', #first)
      holds = answer == first and (first ~= '' or try('EXISTS', key) == 1)
    elseif seen == 'digest' then
      answer = try('STRLEN', key)
      if answer == tonumber(first) then
        answer = try('GET', key)
        holds = type(answer) == 'string' and redis.sha1hex(answer) == argv[at + 3]
      end
    elseif seen == 'longer' then
      answer = try('STRLEN', key)
      holds = type(answer) == 'number' and answer > tonumber(first)
    elseif seen == 'expires' then
      answer = try('PEXPIRETIME', key)
      holds = answer == tonumber(first)
    elseif seen == 'length' then
      answer = try('LLEN', key)
      holds = answer == tonumber(first)
    elseif seen == 'range' then
      answer = entries_of(key, tonumber(first), tonumber(argv[at + 3]), tonumber(argv[at + 5]))
      holds = answer and not answer.err and digest(answer) == argv[at + 4]
    else
      size = size + argv[at + 7]
      if redis.acl_check_cmd('SCAN', '0') then
        holds = is_page(at)
      else
        answer = {err = 'NOPERM'}
      end
    end
    if not holds then return nil, denied(answer) and 'permission' or 'conflict', key end
    at = at + size
    size = ASSUMPTIONS[argv[at]]
  end
  return at
end
