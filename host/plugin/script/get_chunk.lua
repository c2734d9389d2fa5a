#!lua flags=no-writes,allow-oom
-- Get a chunk of a component, if it is as long as it should be: whoever asks need not take in more.
--
-- KEYS   1 the component
-- ARGV   1 number of the chunk, from 0  2 its bytes
-- Reply  the chunk, or how many bytes it has instead
local length = redis.call('HSTRLEN', KEYS[1], ARGV[1])
if length ~= tonumber(ARGV[2]) then return length end
return redis.call('HGET', KEYS[1], ARGV[1])
