-- Which part of each limit is this gateway's, as the controller said last; `*` stands for those it does not name. All workers go by
-- one text in the shared memory, which is not emptied with the rotation.

local cjson = require "cjson.safe"

local control = ngx.shared.coldchain_control

local M = {}

local shares = {}
local seen

-- A table from limit to share, in the place of what was said before. Returns false when there is no room.
function M.tell(given)
    if not control:safe_set("shares", cjson.encode(given)) then
        return false
    end
    control:incr("shares_told", 1, 0)
    M.follow()
    return true
end

-- With each tick.
function M.follow()
    local told = control:get("shares_told")
    if told ~= seen then
        shares = cjson.decode(control:get("shares") or "{}") or {}
        seen = told
    end
end

function M.of(limit)
    return shares[limit] or shares["*"] or 1
end

return M
