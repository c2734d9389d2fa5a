-- Seat: returns the registered lives of a seat. Changes nothing.
--
-- KEYS   1 hosts
-- ARGV   1 prefix of the key about a host  2 name and seat of the host
-- Reply  {{id, ms until its lease ends, origin: machine and file of the seat}, …}
local rows, prefix = {}, ARGV[2] .. '.'
local hosts = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
for i = 1, #hosts, 2 do
  if string.sub(hosts[i], 1, #prefix) == prefix then
    local key, origin = ARGV[1] .. hosts[i], nil
    -- A longer text was not written by a host.
    local length = redis.pcall('HSTRLEN', key, 'origin')
    if type(length) == 'number' and length <= 4096 then origin = redis.call('HGET', key, 'origin') end
    rows[#rows + 1] = {string.sub(hosts[i], 1, 256), hosts[i + 1] - now, origin or ''}
  end
end
return rows
