-- Put back: entries that a run has popped return to the end of the list where they were taken, in the order given:
-- the last one taken first. The record is the proof that an entry is still the run's.
--
-- KEYS   1 inflight of the host  2 the list
-- ARGV   1 most bytes: the call ends after the entry that reaches them  2… their fields
-- Reply  how many of these fields were processed, or the key that is of a wrong type
--
-- inflight -> the list
local wrong = wrong_type(KEYS[1], 'hash', KEYS[2], 'list')
if wrong then return wrong end
local left, done = tonumber(ARGV[1]), 0
while done == 0 or left > 0 and done < #ARGV - 1 do
  done = done + 1
  left = left - (put_back(KEYS[1], ARGV[done + 1], KEYS[2]) or 0)
end
forget_list(KEYS[1], KEYS[2])
return done
