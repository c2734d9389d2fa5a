-- Part: is_utf8(text) -> whether these bytes are UTF-8 text, which every host can read.
local function is_utf8(text)
  local at = string.find(text, '[\128-\255]')
  while at and at <= #text do
    local first, second = string.byte(text, at, at + 1)
    local more
    if first < 0x80 then more = 0
    elseif first < 0xc2 then return false
    elseif first < 0xe0 then more = 1
    elseif first < 0xf0 then more = 2
    elseif first < 0xf5 then more = 3
    else return false end
    if more > 0 then
      second = second or 0
      -- Overlong forms, surrogates, and code points above U+10FFFF.
      if first == 0xe0 and second < 0xa0 or first == 0xed and second > 0x9f then return false end
      if first == 0xf0 and second < 0x90 or first == 0xf4 and second > 0x8f then return false end
      if not string.find(text, '^' .. string.rep('[\128-\191]', more), at + 1) then return false end
    end
    at = at + more + 1
  end
  return true
end
