-- Part: refusal(command, key, command, key, …) -> the error to answer if this user may not use one of these commands on
-- its key; nil if all are allowed. Redis keeps what a script has written before a command is refused, so a script asks
-- before its first write about all that it does after it. Commands that a script may leave out are called
-- with `pcall` instead.
local function refusal(...)
  for i = 1, select('#', ...), 2 do
    local command, key = select(i, ...)
    if not redis.acl_check_cmd(command, key) then
      local right = '`' .. command .. '` on the key `' .. key .. '`'
      return redis.error_reply('NOPERM this user may not use ' .. right .. '; nothing was changed')
    end
  end
end
