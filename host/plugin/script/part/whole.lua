-- Part: whole(key, bytes, chunk) -> whether the hash holds a component of so many bytes, in chunks of that size.
local function whole(key, bytes, chunk)
  local chunks = math.ceil(bytes / chunk)
  if redis.call('HGET', key, 'bytes') ~= tostring(bytes) then return false end
  if redis.call('HLEN', key) ~= chunks + 1 then return false end
  for i = 0, chunks - 1 do
    local expected = math.min(chunk, bytes - i * chunk)
    if redis.call('HSTRLEN', key, i) ~= expected then return false end
  end
  return true
end
