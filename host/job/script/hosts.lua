-- Hosts: lists who is registered. Changes nothing.
--
-- KEYS   1 hosts
-- ARGV   1 prefix of the key about a host  2 most hosts
-- Reply  {{id, ms until its lease ends, {field, value, …}}, …}
local rows = {}
local hosts = redis.call('ZRANGE', KEYS[1], 0, ARGV[2] - 1, 'WITHSCORES')
for i = 1, #hosts, 2 do
  local about = redis.pcall('HGETALL', ARGV[1] .. hosts[i])
  rows[#rows + 1] = {hosts[i], hosts[i + 1] - now, about.err and {} or about}
end
return rows
