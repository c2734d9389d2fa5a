-- Hosts: lists the registered hosts. Changes nothing. Fields that are too long are left out.
--
-- KEYS   1 hosts
-- ARGV   1 prefix of the key about a host  2 most hosts  3 longest field in bytes  4 bytes of all fields together after
--        which none is read  5… fields
-- Reply  {{id, ms until its lease ends, {field, value, …}}, …}
local rows, bytes = {}, 0
local hosts = redis.call('ZRANGE', KEYS[1], 0, ARGV[2] - 1, 'WITHSCORES')
for i = 1, #hosts, 2 do
  local key, about = ARGV[1] .. hosts[i], {}
  if not wrong_type(key, 'hash') then
    for n = 5, #ARGV do
      local length = redis.call('HSTRLEN', key, ARGV[n])
      if length > 0 and length <= tonumber(ARGV[3]) and bytes + length <= tonumber(ARGV[4]) then
        bytes = bytes + length
        about[#about + 1] = ARGV[n]
        about[#about + 1] = redis.call('HGET', key, ARGV[n])
      end
    end
  end
  -- A name this long is not the id of a host.
  rows[#rows + 1] = {string.sub(hosts[i], 1, 256), hosts[i + 1] - now, about}
end
return rows
