-- Part: reads one value of a JSON text without decoding the rest, in bounded time whatever the text is.
-- pointer(source) -> the words of a JSON pointer.
-- value_at(text, from, words) -> the value at the pointer `words` in the JSON that begins at byte `from`: a string; the
--   text of a number, `true` or `false`; nil if there is none of these. Or UNREADABLE: the text is not JSON, or reading
--   it takes more than READ_STEPS_MAX steps. Then another parser might find another value.
-- read_steps()  the steps that all calls have taken
-- A step is a bracket, a name or a string, or STEP_BYTES bytes outside of strings; a string costs the same whatever its
-- length. It reads what lenient parsers read: any depth, a byte order mark, lone surrogates, text after the value; of
-- equal names the last one counts. Values beside the path are not checked, except for characters that JSON has only in
-- strings: another parser could take them for comments or quotes, and see other brackets.
local UNREADABLE = {}
local READ_STEPS_MAX = 16384
local STEP_BYTES = 8
local STRING_BYTES_MAX = 4096 -- Of a string that is asked for, or a name with escapes.
local ESCAPES = {['"'] = '"', ['\\'] = '\\', ['/'] = '/', b = '\b', f = '\f', n = '\n', r = '\r', t = '\t'}
local pointer, value_at, read_steps
do
  local find, byte, match, sub = string.find, string.byte, string.match, string.sub
  local text, words, left
  local taken = 0

  pointer = function(source)
    local found = {}
    for word in string.gmatch(source, '/([^/]*)') do
      found[#found + 1] = string.gsub(string.gsub(word, '~1', '/'), '~0', '~')
    end
    return found
  end

  -- Pays in advance for the bytes up to the next string, so that no pattern below reads more; false if they cost more
  -- than is left.
  local function pay(at)
    local cost = 1 + ((find(text, '"', at, true) or #text + 1) - at) / STEP_BYTES
    if cost > left then return false end
    left = left - cost
    return true
  end

  -- The end of the string whose first byte is at `at`; nil if it has none, or no step is left.
  local function string_end(at)
    local from = at
    while left > 0 do
      at = find(text, '"', at, true)
      if not at then return end
      local slashes = at - 1
      while byte(text, slashes) == 92 and slashes >= from and left > 0 do slashes, left = slashes - 1, left - 1 end
      if (at - slashes) % 2 == 1 then return pay(at + 1) and at or nil end
      at, left = at + 1, left - 1
    end
  end

  local function utf8(code)
    if code < 0x80 then return string.char(code) end
    local last = string.char(0x80 + code % 64)
    code = math.floor(code / 64)
    if code < 0x20 then return string.char(0xc0 + code) .. last end
    last = string.char(0x80 + code % 64) .. last
    code = math.floor(code / 64)
    if code < 0x10 then return string.char(0xe0 + code) .. last end
    return string.char(0xf0 + math.floor(code / 64), 0x80 + code % 64) .. last
  end

  -- The character of `\u` whose four digits are at `at`, and where it ends; nil if there are no four digits. A lone
  -- surrogate becomes U+FFFD, as in most parsers.
  local function unicode(raw, at)
    local digits = match(raw, '^%x%x%x%x', at)
    if not digits then return end
    local code = tonumber(digits, 16)
    if code < 0xd800 or code > 0xdfff then return utf8(code), at + 4 end
    local low = code < 0xdc00 and match(raw, '^\\u([dD][c-fC-F]%x%x)', at + 4)
    if not low then return utf8(0xfffd), at + 4 end
    return utf8(0x10000 + (code - 0xd800) * 1024 + tonumber(low, 16) - 0xdc00), at + 10
  end

  -- The text of a string; nil if its escapes are not those of JSON.
  local function unescape(raw)
    local slash = find(raw, '\\', 1, true)
    if not slash then return raw end
    left = left - #raw
    local parts, at = {}, 1
    while slash do
      parts[#parts + 1] = sub(raw, at, slash - 1)
      local sign = sub(raw, slash + 1, slash + 1)
      local said = ESCAPES[sign]
      at = slash + 2
      if sign == 'u' then said, at = unicode(raw, at) end
      if not said then return end
      parts[#parts + 1] = said
      slash = find(raw, '\\', at, true)
    end
    parts[#parts + 1] = sub(raw, at)
    return table.concat(parts)
  end

  -- The end of the container whose first byte is at `at`.
  local function skip(at)
    local depth = 1
    while left > 0 do
      at = match(text, '^[^%[%]{}"/\'#]*()', at)
      local sign = byte(text, at)
      left = left - 1
      if sign == 34 then -- "
        at = string_end(at + 1)
        if not at then return end
      elseif sign == 91 or sign == 123 then -- [ {
        depth = depth + 1
      elseif sign == 93 or sign == 125 then -- ] }
        depth = depth - 1
        if depth == 0 then return at + 1 end
      else
        return
      end
      at = at + 1
    end
  end

  -- The end of the value at `at`, whatever it is.
  local function pass(at)
    local sign = byte(text, at)
    if sign == 34 then
      at = string_end(at + 1)
      return at and at + 1
    elseif sign == 91 or sign == 123 then
      return skip(at + 1)
    end
    return match(text, '^[%w.+-]+()', at)
  end

  -- Each of these returns where the value at `at` ends, nil if it cannot be read; and what the words from
  -- `words[nth]` on lead to in it.
  local value

  local function last_value(at)
    local sign = byte(text, at)
    if sign == 34 then
      local last = string_end(at + 1)
      if not last or last - at > STRING_BYTES_MAX then return end
      local said = unescape(sub(text, at + 1, last - 1))
      return said and last + 1, said
    elseif sign == 91 or sign == 123 then
      return skip(at + 1)
    end
    local ends = match(text, '^[%w.+-]+()', at)
    if not ends or ends - at > STRING_BYTES_MAX then return end
    local word = sub(text, at, ends - 1)
    if word == 'null' then return ends end
    if word == 'true' or word == 'false' or find(word, '^-?%d+%.?%d*[eE]?[+-]?%d*$') then return ends, word end
  end

  local function is_name(first, last, word)
    if last - first < #word - 1 or last - first > 6 * #word then return false end
    local raw = sub(text, first, last)
    return raw == word or (find(raw, '\\', 1, true) and unescape(raw) == word)
  end

  local function object(at, nth)
    local found
    at = match(text, '^[ \t\r\n]*()', at)
    if byte(text, at) == 125 then return at + 1 end
    while left > 0 do
      if byte(text, at) ~= 34 then return end
      local last = string_end(at + 1)
      if not last then return end
      local begins = match(text, '^[ \t\r\n]*:[ \t\r\n]*()', last + 1)
      if not begins then return end
      if is_name(at + 1, last - 1, words[nth]) then
        at, found = value(begins, nth + 1)
      else
        at = pass(begins)
      end
      if not at then return end
      local sign, behind = match(text, '^[ \t\r\n]*([,}])[ \t\r\n]*()', at)
      if sign == '}' then return behind, found end
      if not sign then return end
      at, left = behind, left - 2
    end
  end

  local function array(at, nth)
    local wanted = find(words[nth], '^%d+$') and tonumber(words[nth])
    local found
    at = match(text, '^[ \t\r\n]*()', at)
    if byte(text, at) == 93 then return at + 1 end
    local index = 0
    while left > 0 do
      if index == wanted then at, found = value(at, nth + 1) else at = pass(at) end
      if not at then return end
      local sign, behind = match(text, '^[ \t\r\n]*([,%]])[ \t\r\n]*()', at)
      if sign == ']' then return behind, found end
      if not sign then return end
      at, index, left = behind, index + 1, left - 2
    end
  end

  value = function(at, nth)
    if nth > #words then return last_value(at) end
    local sign = byte(text, at)
    if sign == 123 then return object(at + 1, nth) end
    if sign == 91 then return array(at + 1, nth) end
    if sign == 34 then return (pass(at)) end
    return (last_value(at))
  end

  value_at = function(record, from, path)
    text, words, left = record, path, READ_STEPS_MAX
    if sub(record, from, from + 2) == '\239\187\191' then from = from + 3 end
    local ends, found
    if pay(from) then ends, found = value(match(text, '^[ \t\r\n]*()', from), 1) end
    taken = taken + READ_STEPS_MAX - left
    if not ends then return UNREADABLE end
    return found
  end

  read_steps = function() return taken end
end
