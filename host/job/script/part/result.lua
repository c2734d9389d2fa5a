-- Part: tell_result(stats, record, word, text) leaves for a producer that asked for its job's result, by the note
-- `!result` with the milliseconds it is kept, what became of the job: a line with a word, then a text. A completed job's
-- result is one of its effects, and not told here. None of this can fail; a key of a wrong type stays as it is.
local function tell_result(stats, record, word, text)
  local line = string.sub(record, 1, string.find(record, '\n', 1, true) or 0)
  local at = string.find(line, ' !result=', 1, true)
  local kept = at and string.match(line, '^%d+', at + 9)
  local id = kept and string.match(line, '^1 ([!-~]+)')
  if not id then return end
  local key = string.sub(stats, 1, -6) .. 'result:' .. id -- Without "stats".
  redis.call('DEL', key)
  redis.call('RPUSH', key, word .. '\n' .. text)
  redis.call('PEXPIRE', key, string.format('%.0f', math.min(math.max(tonumber(kept), 1), 2592000000)))
end

-- The reason in a header.
local function reason_of(header)
  local reason = string.match(header, ' !reason=([^ \n]*)') or ''
  return (string.gsub(reason, '%%(%x%x)', function(hex) return string.char(tonumber(hex, 16)) end))
end
