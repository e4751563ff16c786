-- A worker that has too much to do refuses what matters least: by its open requests, and by how late it is.

local max = math.max

local M = {level = 0, open = 0, open_requests_max = math.huge, lag_seconds_max = math.huge}

local LOW, NORMAL, HIGH = 1, 2, 3
local EARLY = 0.75  -- of the open requests at which what matters is refused too
local FADING = 0.9  -- how much of a lag still counts one tick later

local RANKS = {low = LOW, normal = NORMAL, high = HIGH}
local lag = 0

-- Requests of a route are refused while the level is at least its rank.
function M.rank(importance)
    return RANKS[importance] or NORMAL
end

-- With each tick; `late`: by how many seconds it came later than it should.
function M.follow(late)
    lag = max(late, lag * FADING)
    if M.open >= M.open_requests_max then
        M.level = NORMAL
    elseif M.open >= M.open_requests_max * EARLY or lag > M.lag_seconds_max then
        M.level = LOW
    else
        M.level = 0
    end
end

return M
