#!lua flags=no-writes
-- One page of the keys that match: a bounded look at the key space.
-- ARGV[1]  cursor, '0' for the first page
-- ARGV[2]  pattern of SCAN
-- ARGV[3]  most keys to look at
-- ARGV[4]  stop looking once this many matched
-- ARGV[5]  longest key in bytes; longer ones are left out
-- Reply    array: next cursor ('0': no more), then the keys
-- Before → after: nothing changes.
local cursor, looks, enough = ARGV[1], tonumber(ARGV[3]), tonumber(ARGV[4])
local longest = tonumber(ARGV[5])
local step = 100
local reply = { cursor }
repeat
  local page = redis.call('SCAN', cursor, 'MATCH', ARGV[2], 'COUNT', step)
  cursor = page[1]
  looks = looks - step
  for _, key in ipairs(page[2]) do
    if #key <= longest then reply[#reply + 1] = key end
  end
until cursor == '0' or looks <= 0 or #reply > enough
reply[1] = cursor
return reply
