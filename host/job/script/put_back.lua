-- Put back: entries that a run has popped return to the end of the list where they were taken, in the order given:
-- the last one taken first. The record is the proof that an entry is still the run's.
--
-- KEYS   1 inflight of the host  2 the list
-- ARGV   their fields
-- Reply  how many there were, or the key that is of a wrong type
--
-- inflight -> the list
local wrong = wrong_type(KEYS[1], 'hash', KEYS[2], 'list')
if wrong then return wrong end
local back = 0
for _, field in ipairs(ARGV) do
  if put_back(KEYS[1], field, KEYS[2]) then back = back + 1 end
end
forget_list(KEYS[1], KEYS[2])
return back
