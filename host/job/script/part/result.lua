-- Part: tell_result(stats, record, word, text) leaves for a producer that asked for its job's result, by the note
-- `!result` with the milliseconds it is kept, what became of the job: a line with a word, then a text. A completed job's
-- result is one of its effects, and not reported here. This part cannot fail: if this user lacks the rights,
-- there is no result.
local function tell_result(stats, record, word, text)
  local line = string.sub(record, 1, string.find(record, '\n', 1, true) or 0)
  local at = string.find(line, ' !result=', 1, true)
  local kept = at and string.match(line, '^%d+', at + 9)
  local id = kept and string.match(line, '^1 ([!-~]+)')
  if not id then return end
  local key = string.sub(stats, 1, -6) .. 'result:' .. id -- Without "stats".
  local kept_ms = string.format('%.0f', math.min(math.max(tonumber(kept), 1), 2592000000))
  -- If this user could not set the expiry, the result would stay forever.
  if type(redis.pcall('PEXPIRE', key, kept_ms)) ~= 'number' or type(redis.pcall('DEL', key)) ~= 'number' then return end
  redis.pcall('RPUSH', key, word .. '\n' .. text)
  redis.pcall('PEXPIRE', key, kept_ms)
end

-- The reason in a header.
local function reason_of(header)
  local reason = string.match(header, ' !reason=([^ \n]*)') or ''
  return (string.gsub(reason, '%%(%x%x)', function(hex) return string.char(tonumber(hex, 16)) end))
end
