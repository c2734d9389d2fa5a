-- Bury: a job will not run again unless an operator says so.
--
-- KEYS   1 inflight of the host  2 stats  3 dead
-- ARGV   1 field  2 header to store, with its line feed  3 prefix of unique keys  4 most dead jobs  5 longest age in ms
--        6 most bytes
-- Reply  1 done, 0 late: the record was gone and nothing changed, or the key that is of a wrong type
--
-- inflight -> dead, at Redis time; its unique key is released. The oldest of dead -> gone while a limit is exceeded
local wrong = wrong_type(KEYS[1], 'hash', KEYS[2], 'hash', KEYS[3], 'zset')
if wrong then return wrong end
local refused = refusal('ZADD', KEYS[3])
if refused then return refused end
local record = take_record(KEYS[1], KEYS[2], ARGV[1])
if not record then return 0 end
if string.byte(ARGV[1]) == 101 then free_unique(ARGV[3], record) end -- 101 is "e".
add_dead(KEYS[3], KEYS[2], now, ARGV[2] .. payload_of(ARGV[1], record))
tell_result(KEYS[2], ARGV[2], 'dead', reason_of(ARGV[2]))
count(KEYS[2], 'buried', 1)
trim_dead(KEYS[3], KEYS[2], now, tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]))
return 1
