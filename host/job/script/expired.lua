-- Expired: returns the hosts whose lease has ended, the longest dead first.
--
-- KEYS   1 hosts  2 the last contact
-- ARGV   1 most hosts  2 prefix of the key about a host  3 lease in ms of the host that asks
-- Reply  {host, …}
local refused = refusal('ZRANGEBYSCORE', KEYS[1])
if refused then return refused end
contact(KEYS[1], KEYS[2], ARGV[2], tonumber(ARGV[3]))
local expired = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[1])
-- A name this long is none of a host's.
for i, host in ipairs(expired) do expired[i] = string.sub(host, 1, 256) end
return expired
