-- Part: what `limits` has, for a queue without any.
local looks_max = 0
local work_max = math.huge
local function weary() return false end
local function limits_refused() end
local function allow(wanted) return wanted end
local function admit(record, enveloped) return record, enveloped end
local function conclude() end
local function spare() return 0 end
local function is_owed() return false end
local function look_by(due) return due end
