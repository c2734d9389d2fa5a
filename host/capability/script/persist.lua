#!lua flags=allow-oom
-- Takes the expiry off a key. (Takes no memory, so it works at the memory limit, as PERSIST does.)
-- KEYS[1]  the key
-- Reply    1 if there is such a key, with an expiry or without, else 0
-- Before → after: expiring key → lasting key.
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('PERSIST', KEYS[1])
return 1
