-- Field names: returns a page of the field names of a hash, without their values.
--
-- KEYS   1 the hash
-- ARGV   1 cursor, '0' for the first page  2 pattern  3 fields to examine  4 longest name in bytes: longer ones are left
--        out
-- Reply  {next cursor, '0' at the end; name, …}
local found = redis.call('HSCAN', KEYS[1], ARGV[1], 'MATCH', ARGV[2], 'COUNT', ARGV[3])
local reply = {found[1]}
for i = 1, #found[2], 2 do
  if #found[2][i] <= tonumber(ARGV[4]) then reply[#reply + 1] = found[2][i] end
end
return reply
