-- Put a chunk: one piece of a component that is on its way into the depot.
--
-- KEYS   1 where it is gathered
-- ARGV   1 number of the chunk, from 0  2 its bytes  3 how long is waited for the next one in ms
-- Reply  SHA-1 of what is there now; or {key} that is of a wrong type
--
-- absent or a hash -> with this chunk; it goes away when nothing more comes
local wrong = wrong_type(KEYS[1], 'hash')
if wrong then return {wrong} end
local refused = refusal('PEXPIRE', KEYS[1], 'HGET', KEYS[1])
if refused then return refused end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return redis.sha1hex(redis.call('HGET', KEYS[1], ARGV[1]))
