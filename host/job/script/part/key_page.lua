-- Part: key_page(pattern, cursor, looks, enough, longest) -> one page of the keys that match: an array with the
-- next cursor ('0': no more), then the keys; its field `looked` is how many keys were examined. A bounded read of
-- the key space: it ends after `looks` keys, or once more than `enough` matched; keys longer than `longest` bytes
-- are left out.
local function key_page(pattern, cursor, looks, enough, longest)
  local step = 100
  local page = { cursor, looked = 0 }
  repeat
    local some = redis.call('SCAN', cursor, 'MATCH', pattern, 'COUNT', step)
    cursor = some[1]
    looks, page.looked = looks - step, page.looked + step
    for _, key in ipairs(some[2]) do
      if #key <= longest then page[#page + 1] = key end
    end
  until cursor == '0' or looks <= 0 or #page > enough
  page[1] = cursor
  return page
end
