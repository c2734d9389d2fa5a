-- Search: returns a page of the names of keys that match a pattern.
--
-- ARGV   1 cursor, '0' for the first page  2 pattern  3 keys to examine  4 longest name in bytes: longer ones are left out
-- Reply  {next cursor, '0' at the end; name, …}
local page = key_page(ARGV[2], ARGV[1], tonumber(ARGV[3]), tonumber(ARGV[3]), tonumber(ARGV[4]))
page.looked = nil
return page
