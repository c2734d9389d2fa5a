-- Part: forget_list(records, list) deletes the note about `list` in the key about a host once no record is left in
-- `records`, which that host keeps for it: then nobody needs to look there after its death. `take` writes the note
-- before the first record.
local function forget_list(records, list)
  if redis.pcall('EXISTS', records) ~= 0 then return end
  local host = string.match(records, '.*:sandhog:inflight:(.*)$')
  if host then redis.pcall('HDEL', 'sandhog:host:' .. host, 'pop:' .. list) end
end
