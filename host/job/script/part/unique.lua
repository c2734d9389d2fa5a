-- Part: what holds a job's unique key.
-- unique_of(prefix, envelope) -> the job's id and its unique key; nil if it has none.
-- free_unique(prefix, envelope) lets go of the job's unique key, if it has one and it is still its own.
local function unique_of(prefix, envelope)
  -- Looked for as it stands: a pattern over the whole line goes back and forth in it for microseconds.
  local line = string.sub(envelope, 1, string.find(envelope, '\n', 1, true) or 0)
  local at = string.find(line, ' !unique=', 1, true)
  local id = at and string.match(line, '^1 ([!-~]+)')
  if not id then return end
  local key = string.match(line, '^[^ \n]*', at + 9)
  return id, prefix .. string.gsub(key, '%%(%x%x)', function(hex) return string.char(tonumber(hex, 16)) end)
end

local function free_unique(prefix, envelope)
  local id, key = unique_of(prefix, envelope)
  if id and redis.pcall('GET', key) == id then redis.call('DEL', key) end
end
