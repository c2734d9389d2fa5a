-- One page of the keys that match: a bounded look at the key space.
-- ARGV[1]  cursor, '0' for the first page
-- ARGV[2]  pattern of SCAN
-- ARGV[3]  most keys to look at
-- ARGV[4]  stop looking once this many matched
-- ARGV[5]  longest key in bytes; longer ones are left out
-- Reply    array: next cursor ('0': no more), how many keys were examined, then the keys
-- Before → after: nothing changes.
local page = key_page(ARGV[2], ARGV[1], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]))
table.insert(page, 2, string.format('%d', page.looked))
return page
