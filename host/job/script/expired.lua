-- Expired: returns a page of the hosts whose lease has ended, the longest dead first.
--
-- KEYS   1 hosts  2 the last contact
-- ARGV   1 most hosts  2 prefix of the key about a host  3 lease in ms of the host that asks  4 hosts to skip
-- Reply  {host, …}
local refused = refusal('ZRANGE', KEYS[1])
if refused then return refused end
contact(KEYS[1], KEYS[2], ARGV[2], tonumber(ARGV[3]))
local skip, expired = tonumber(ARGV[4]), {}
local rows = redis.call('ZRANGE', KEYS[1], skip, skip + ARGV[1] - 1, 'WITHSCORES')
for i = 1, #rows, 2 do
  if tonumber(rows[i + 1]) > now then break end
  -- A name this long is not the id of a host.
  expired[#expired + 1] = string.sub(rows[i], 1, 256)
end
return expired
