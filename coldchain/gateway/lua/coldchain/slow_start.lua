-- An instance that just came gets less than its part for a while: it has nothing in its caches yet.

local random, max = math.random, math.max

local M = {}

local LEAST = 0.1  -- of its part, at the very beginning

-- The peer that takes a request for which `peer` was chosen: it or, the younger it is the more often, another one.
-- `again(but)` chooses once more, none of the set `but`.
function M.choose(peer, seconds, tried, time, again)
    local age = time - peer.came
    if age >= seconds or random() < max(LEAST, age / seconds) then
        return peer
    end
    local but = {[peer] = true}
    for one in pairs(tried or {}) do
        but[one] = true
    end
    local other = again(but)
    return other and other.skipped_until <= time and other or peer
end

return M
