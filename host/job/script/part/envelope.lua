-- Part: HEADER matches an envelope: id, attempts, crashes, first seen, notes, where the payload begins.
-- payload_of(field, record) -> the producer's bytes in a record of `inflight`.
local HEADER = '^1 ([!-~]+) (%d+) (%d+) (%d+)([^\n]*)\n()'

local function payload_of(field, record)
  if string.byte(field) ~= 101 then return record end -- 101 is "e".
  local begins = select(8, string.find(record, HEADER))
  return begins and string.sub(record, begins) or record
end
