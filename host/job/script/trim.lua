-- Trim: drops dead jobs that have passed a cap, a bounded number at a time.
--
-- KEYS   1 dead  2 stats
-- ARGV   1 most dead jobs  2 longest age in ms  3 most bytes
-- Reply  how many were dropped, or the key that is of a wrong type
--
-- the oldest of dead -> gone
local wrong = wrong_type(KEYS[1], 'zset', KEYS[2], 'hash')
if wrong then return wrong end
return trim_dead(KEYS[1], KEYS[2], now, tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]))
