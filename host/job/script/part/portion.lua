-- Part: next_portion(seen, bytes, bytes_max, most) -> how many records the next command may read, `most` at most. `seen`
-- records with `bytes` together have been read so far, and the script wants to end at `bytes_max`.
-- The sizes of the next records are unknown until Redis has copied them, and large records can follow small ones. So one
-- command reads at most RECORDS_AT_ONCE records, whatever the sizes so far; the first command reads one.
local RECORDS_AT_ONCE = 4
local function next_portion(seen, bytes, bytes_max, most)
  if seen == 0 then return 1 end
  most = math.min(most, RECORDS_AT_ONCE)
  if bytes > 0 then most = math.min(most, math.floor((bytes_max - bytes) / bytes * seen)) end
  return math.max(1, most)
end
