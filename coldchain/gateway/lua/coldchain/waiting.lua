-- Where requests above a concurrency wait, in the order in which they came to this worker. The first one asks again
-- whenever one of this worker's requests ends, and now and then, since those of other workers end unheard.

local semaphore = require "ngx.semaphore"
local counts = require "coldchain.counts"

local now, max, min = ngx.now, math.max, math.min

local M = {}

local POLL_SECONDS = 0.01
local LEAST_SECONDS = 0.002  -- what is below a millisecond is no wait at all, and time would stand still

local lines = {}     -- key → list of places, the first to go first
local place_of = {}  -- request → {key, woken}

local function leave(request)
    local place = place_of[request]
    local line = lines[place.key]
    place_of[request] = nil
    counts.release("waiting\n" .. place.key)
    for index, one in ipairs(line) do
        if one == place then
            table.remove(line, index)
            break
        end
    end
    if #line == 0 then
        lines[place.key] = nil
    else
        line[1].woken:post(1)
    end
end

-- Whether somebody waits in this worker, so that nobody who comes may go before him.
function M.any(key)
    return lines[key] ~= nil
end

function M.total(key)
    return counts.total("waiting\n" .. key)
end

-- Waits until there is room below `most`, and takes it. False when there was none in time, or too many wait.
function M.wait(request, key, most, length, seconds)
    if not counts.take("waiting\n" .. key, length) then
        return false
    end
    local place = {key = key, woken = semaphore.new(0)}
    local line = lines[key] or {}
    lines[key], line[#line + 1], place_of[request] = line, place, place
    local deadline, taken = now() + seconds, false
    while not taken and now() < deadline do
        local first = line[1] == place
        if first and counts.take(key, most) then
            taken = true
        else
            local rest = max(deadline - now(), LEAST_SECONDS)
            place.woken:wait(first and min(rest, POLL_SECONDS) or rest)
        end
    end
    leave(request)
    return taken
end

-- There is room again.
function M.wake(key)
    local line = lines[key]
    if line then
        line[1].woken:post(1)
    end
end

-- The request is over, perhaps while it waited.
function M.ended(request)
    if place_of[request] then
        leave(request)
    end
end

return M
