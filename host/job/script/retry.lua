-- Retry: a job failed and runs again later.
--
-- KEYS   1 inflight of the host  2 stats  3 delayed
-- ARGV   1 field  2 header to store, with its line feed  3 delay in ms
-- Reply  1 done, 0 late: the record was gone and nothing changed, or the key that is of a wrong type
--
-- inflight -> delayed, due at Redis time plus the delay; the payload is the record's own
local wrong = wrong_type(KEYS[1], 'hash', KEYS[2], 'hash', KEYS[3], 'zset')
if wrong then return wrong end
local refused = refusal('ZADD', KEYS[3])
if refused then return refused end
local record = take_record(KEYS[1], KEYS[2], ARGV[1], ARGV[2])
if not record then return 0 end
add_record(KEYS[3], now + ARGV[3], ARGV[2] .. payload_of(ARGV[1], record))
count(KEYS[2], 'retried', 1)
return 1
