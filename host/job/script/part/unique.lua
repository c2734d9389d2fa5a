-- Part: free_unique(prefix, envelope) lets go of the job's unique key, if it has one and it is still its own.
local function free_unique(prefix, envelope)
  local id, key = string.match(envelope, '^1 ([!-~]+)[^\n]* !unique=([^ \n]*)')
  if not id then return end
  key = prefix .. string.gsub(key, '%%(%x%x)', function(hex) return string.char(tonumber(hex, 16)) end)
  if redis.pcall('GET', key) == id then redis.call('DEL', key) end
end
