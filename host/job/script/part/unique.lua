-- Part: what holds a job's unique key.
-- unique_of(prefix, envelope) -> the job's id and its unique key; nil if it has none.
-- free_unique(prefix, envelope) lets go of the job's unique key, if it has one and it is still its own.
local function unique_of(prefix, envelope)
  local id, key = string.match(envelope, '^1 ([!-~]+)[^\n]* !unique=([^ \n]*)')
  if not id then return end
  return id, prefix .. string.gsub(key, '%%(%x%x)', function(hex) return string.char(tonumber(hex, 16)) end)
end

local function free_unique(prefix, envelope)
  local id, key = unique_of(prefix, envelope)
  if id and redis.pcall('GET', key) == id then redis.call('DEL', key) end
end
