#!lua flags=no-writes,allow-oom
-- Chunk digest: what a chunk of a component is, without sending it.
--
-- KEYS   1 the component
-- ARGV   1 number of the chunk, from 0  2 its bytes
-- Reply  its SHA-1; the SHA-1 of an empty text if the chunk is missing or has another length
local is_whole = redis.call('HSTRLEN', KEYS[1], ARGV[1]) == tonumber(ARGV[2])
return redis.sha1hex(is_whole and redis.call('HGET', KEYS[1], ARGV[1]) or '')
