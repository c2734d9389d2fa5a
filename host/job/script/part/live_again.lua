-- Part, needs `envelope`, `record`, `unique`: jobs that an operator adds again.
-- take_unique(prefix, envelope) -> the record with which the job owns its unique key from now on, for as long as its
-- producer asked for; the same record if it has no unique key; nil if a living job has the key.
-- live_again(prefix, envelope) -> the same for a dead job, which starts again with no attempts and no crashes.
local KEPT_MS, KEPT_MS_MAX = 86400000, 3155760000000

local function take_unique(prefix, envelope)
  local _, key = unique_of(prefix, envelope)
  if not key then return envelope end
  local stop = string.find(envelope, '\n', 1, true)
  local line = string.gsub(string.sub(envelope, 1, stop - 1), ' !own=[^ ]*', '')
  -- Records of former versions do not say for how long.
  local kept = tonumber(string.match(note_of(line, '!kept') or '', '^%d+$')) or KEPT_MS
  kept = string.format('%.0f', math.min(math.max(kept, 1), KEPT_MS_MAX))
  local own = one_of_a_kind()
  if not redis.call('SET', key, string.match(line, '^1 ([!-~]+)') .. ' ' .. own, 'NX', 'PX', kept) then return end
  return line .. ' !own=' .. own .. string.sub(envelope, stop)
end

local function live_again(prefix, envelope)
  local living = take_unique(prefix, envelope)
  if not living then return end
  local id, _, _, first_seen, notes, begins = string.match(living, HEADER)
  if not id then return living end
  return string.format('1 %s 0 0 %s%s\n', id, first_seen, notes) .. string.sub(living, begins)
end
