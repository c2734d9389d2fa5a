-- Complete or discard: ends a job for good.
--
-- KEYS   1 inflight of the host  2 stats
-- ARGV   1 field  2 counter: completed or discarded  3 prefix of unique keys
-- Reply  1 done, 0 late: the record was gone and nothing changed, or the key that is of a wrong type
--
-- inflight -> gone; its unique key is released
local wrong = wrong_type(KEYS[1], 'hash', KEYS[2], 'hash')
if wrong then return wrong end
local record = take_record(KEYS[1], KEYS[2], ARGV[1])
if not record then return 0 end
if ARGV[2] == 'discarded' then tell_result(KEYS[2], record, 'discarded', '') end
if string.byte(ARGV[1]) == 101 then free_unique(ARGV[3], record) end -- 101 is "e".
count(KEYS[2], ARGV[2], 1)
return 1
