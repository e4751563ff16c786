-- Which part of each limit is this gateway's, as the controller said last; `*` stands for those it does not name. All workers go by
-- one text in the shared memory, which is not emptied with the rotation. Each has a number and stands beside the one before
-- it until it counts, since what does not fit takes away what it was to replace.

local cjson = require "cjson.safe"
local store = require "coldchain.store"

local control = ngx.shared.coldchain_control

local M = {}

local shares = {}
local seen

local function key_of(number)
    return string.format("shares:%.0f", number)
end

-- A table from limit to share, in the place of what was said before. Returns nil and why not when there is no room: then
-- what was said before counts.
function M.tell(given)
    local locked, problem = store.lock()
    if not locked then
        return nil, problem
    end
    local before = control:get("shares_told") or 0
    local ok
    ok, problem = control:safe_set(key_of(before + 1), cjson.encode(given))
    if ok then
        ok, problem = control:safe_set("shares_told", before + 1)
    end
    control:delete(key_of(ok and before or before + 1))
    store.unlock()
    M.follow()
    return ok, problem
end

-- With each tick.
function M.follow()
    local told = control:get("shares_told") or 0
    if told == seen then
        return
    end
    local text = told > 0 and control:get(key_of(told))
    if text then
        shares, seen = cjson.decode(text) or {}, told
    end
end

function M.of(limit)
    return shares[limit] or shares["*"] or 1
end

return M
