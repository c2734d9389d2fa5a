#!lua flags=no-writes,allow-oom
-- Chunk digest: what a chunk of a component is, without sending it.
--
-- KEYS   1 the component
-- ARGV   1 number of the chunk, from 0
-- Reply  its SHA-1; that of nothing if it is not there
return redis.sha1hex(redis.call('HGET', KEYS[1], ARGV[1]) or '')
