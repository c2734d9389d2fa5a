-- Part: sum_fits(held, delta), both as Redis holds numbers: text. -> nil if INCRBY would add them, 'integer' if
-- `held` is no integer to it, 'range' if the sum has no room in 64 bits.
local sum_fits
do
  local find, sub = string.find, string.sub

  -- The digits after the first 9 from the right, and those: numbers that Lua's floating point holds exactly.
  local function halves(digits) return tonumber('0' .. sub(digits, 1, -10)), tonumber(sub(digits, -9)) end

  -- Whether these digits, or two of them added, have room on their side of zero.
  local function room(negative, digits, more)
    local high, low = halves(digits)
    local high_more, low_more = halves(more)
    low = low + low_more
    high = high + high_more + math.floor(low / 1e9)
    low = low % 1e9
    return high < 9223372036 or high == 9223372036 and low <= (negative and 854775808 or 854775807)
  end

  sum_fits = function(held, delta)
    if held ~= '0' and not find(held, '^-?[1-9]%d*$') then return 'integer' end
    -- Two numbers below 10^18 always have room.
    if #held < 19 and #delta < 19 then return end
    local negative = sub(held, 1, 1) == '-'
    local digits = negative and sub(held, 2) or held
    if #digits > 19 or not room(negative, digits, '0') then return 'integer' end
    if negative ~= (sub(delta, 1, 1) == '-') then return end
    if not room(negative, digits, negative and sub(delta, 2) or delta) then return 'range' end
  end
end
