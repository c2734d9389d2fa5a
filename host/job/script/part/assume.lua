-- Part, needs `key_page`: what a run saw and decided on.
-- ARGV   of one assumption, from `at` on: what was seen, the key (a page: the pattern), and
--        absent, present  nothing more        value   the value
--        digest  length, SHA-1                expires what PEXPIRETIME answered
--        length  entries of the list          range   first index, last index, SHA-1
--        page    cursor, looks, enough, longest key, SHA-1 (see `key_page`)
-- assume(at) -> where the next argument stands; and 'conflict' if it does not hold any more, 'permission' if this
-- user may not look. A SHA-1 of several strings is that of `<length>:<string>` for each, one after the other.
-- denied(answer) -> whether Redis refused a read to this user, rather than for the key's type.
local function denied(answer)
  return type(answer) == 'table' and answer.err and not string.find(answer.err, 'WRONGTYPE', 1, true)
end

local function digest(strings)
  local parts = {}
  for i, text in ipairs(strings) do parts[2 * i - 1], parts[2 * i] = #text .. ':', text end
  return redis.sha1hex(table.concat(parts))
end

local function assume(at)
  local try, argv = redis.pcall, ARGV
  local seen, key, first = argv[at], argv[at + 1], argv[at + 2]
  local after, answer, holds = at + 3, nil, false
  if seen == 'absent' or seen == 'present' then
    after = at + 2
    answer = try('EXISTS', key)
    holds = answer == (seen == 'present' and 1 or 0)
  elseif seen == 'value' then
    -- One byte more than expected would show a longer one.
    answer = try('GETRANGE', key, '0', #first)
    holds = answer == first and (first ~= '' or try('EXISTS', key) == 1)
  elseif seen == 'digest' then
    after = at + 4
    answer = try('STRLEN', key)
    if answer == tonumber(first) then
      answer = try('GET', key)
      holds = type(answer) == 'string' and redis.sha1hex(answer) == argv[at + 3]
    end
  elseif seen == 'expires' then
    answer = try('PEXPIRETIME', key)
    holds = answer == tonumber(first)
  elseif seen == 'length' then
    answer = try('LLEN', key)
    holds = answer == tonumber(first)
  elseif seen == 'range' then
    after = at + 5
    answer = try('LRANGE', key, first, argv[at + 3])
    holds = not answer.err and digest(answer) == argv[at + 4]
  else
    after = at + 7
    if redis.acl_check_cmd('SCAN', '0') then
      local page = key_page(key, first, tonumber(argv[at + 3]), tonumber(argv[at + 4]), tonumber(argv[at + 5]))
      holds = digest(page) == argv[at + 6]
    else
      answer = {err = 'NOPERM'}
    end
  end
  if holds then return after end
  return after, denied(answer) and 'permission' or 'conflict'
end
