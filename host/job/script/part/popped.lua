-- Part: forget_list(records, list): once no record is left in `records`, which a host keeps for `list`, nobody needs to
-- look there after its death. `take` notes the list in the key about the host before the first record is written.
local function forget_list(records, list)
  if redis.pcall('EXISTS', records) ~= 0 then return end
  local host = string.match(records, '.*:sandhog:inflight:(.*)$')
  if host then redis.pcall('HDEL', 'sandhog:host:' .. host, 'pop:' .. list) end
end
