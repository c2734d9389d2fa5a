-- Complete or discard: ends a job for good.
--
-- KEYS   1 inflight of the host  2 stats  3 its unique key, if it has one
-- ARGV   1 field  2 counter: completed or discarded  3 job id
-- Reply  1 done, 0 late: the record was gone and nothing changed, or the key that is of a wrong type
--
-- inflight -> gone; its unique key is let go
local wrong = wrong_type(KEYS[1], 'hash', KEYS[2], 'hash')
if wrong then return wrong end
local record = take_record(KEYS[1], KEYS[2], ARGV[1])
if not record then return 0 end
if ARGV[2] == 'discarded' then tell_result(KEYS[2], record, 'discarded', '') end
if KEYS[3] and redis.pcall('GET', KEYS[3]) == ARGV[3] then redis.call('DEL', KEYS[3]) end
count(KEYS[2], ARGV[2], 1)
return 1
