#!lua flags=no-writes
-- Length and digest of a string that may be too long to be fetched.
-- KEYS[1]  the key
-- Reply    nil: no such key; array: bytes, SHA-1 in hexadecimal digits
-- Before → after: nothing changes. Another type: WRONGTYPE.
local value = redis.call('GET', KEYS[1])
return value and { #value, redis.sha1hex(value) }
