-- Part: who owns a job's unique key. The key holds the owner: the job's id, a space and the note `!own`, which is
-- unique, so that no other job with the same id can release it. Scripts of former versions wrote neither note nor
-- space: then the id alone is the owner.
-- unique_of(prefix, envelope) -> the owner that the job would be, and its unique key; nil if it has none.
-- free_unique(prefix, envelope) releases the job's unique key if the job owns it. It cannot fail: a
-- key that this user may not delete stays until it expires.
local function note_of(line, name)
  -- A plain search: a pattern over the whole line backtracks for microseconds.
  local _, at = string.find(line, ' ' .. name .. '=', 1, true)
  return at and string.match(line, '^[^ \n]*', at + 1)
end

local function unique_of(prefix, envelope)
  local line = string.sub(envelope, 1, string.find(envelope, '\n', 1, true) or 0)
  local key = note_of(line, '!unique')
  local id = key and string.match(line, '^1 ([!-~]+)')
  if not id then return end
  local own = note_of(line, '!own')
  key = string.gsub(key, '%%(%x%x)', function(hex) return string.char(tonumber(hex, 16)) end)
  return own and id .. ' ' .. own or id, prefix .. key
end

local function free_unique(prefix, envelope)
  local owner, key = unique_of(prefix, envelope)
  if owner and redis.pcall('GET', key) == owner then redis.pcall('DEL', key) end
end
