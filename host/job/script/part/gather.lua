-- Part, needs `stream`: what many jobs of one call do alike to one key, adding to a number or appending to a list, is
-- said to Redis once for all of them. Whoever looks at a key, or changes it in another way, settles it first.
-- settle(key) carries out what is held back for this key; settle_all() for every key.
-- known   what this call itself has left at a key, held back or not: 'list', or the number if it is far from the ends
--         of 64 bits; nothing of other keys. These are not looked at again.
-- held    what is held back: how much is to be added, or the entries to be appended.
-- fresh   keys that are absent, by one look at many of them, and that this call has not written to since.
local known, held, fresh = {}, {}, {}

-- Lua's numbers are exact to 15 digits.
local function is_small(number) return number < 1e15 and number > -1e15 end

local function settle(key)
  local due = held[key]
  if not due then return end
  held[key] = nil
  if type(due) == 'number' then
    call('INCRBY', key, string.format('%.0f', due))
  else
    -- At some thousands `unpack` fails.
    for first = 1, #due, 1000 do call('RPUSH', key, unpack(due, first, math.min(first + 999, #due))) end
  end
end

local function settle_all()
  for key in pairs(held) do settle(key) end
end

local function hold_sum(key, delta)
  local sum = known[key] + delta
  if not is_small(sum) then return false end
  known[key], held[key] = sum, (held[key] or 0) + delta
  return true
end

local function hold_entry(key, entry)
  local entries = held[key]
  if entries then entries[#entries + 1] = entry else held[key] = {entry} end
end
