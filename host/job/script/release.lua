-- Release: a job is handed back without its attempt being counted, to be the next one taken.
--
-- KEYS   1 inflight of the host  2 stats  3 ready, or the list
-- ARGV   1 field  2 header to store, with its line feed; empty for the list  3 LPUSH or RPUSH
-- Reply  1 done, 0 late: the record was gone and nothing changed, or the key that is of a wrong type
--
-- inflight -> ready, as an envelope; or the list, as the bytes the producer pushed
local wrong = wrong_type(KEYS[1], 'hash', KEYS[2], 'hash', KEYS[3], 'list')
if wrong then return wrong end
local refused = refusal(ARGV[3], KEYS[3])
if refused then return refused end
local record = take_record(KEYS[1], KEYS[2], ARGV[1], ARGV[2])
if not record then return 0 end
redis.call(ARGV[3], KEYS[3], ARGV[2] .. payload_of(ARGV[1], record))
count(KEYS[2], 'released', 1)
return 1
