-- Which endpoint of a service takes the next request. Weight 0 never; one that could not be reached is skipped for a
-- while, unless all are so; one that this request tried already is never tried again.

local now = ngx.now

local M = {}

local function usable(peer, time, tried)
    return peer.skipped_until <= time and not (tried and tried[peer])
end

-- Smooth weighted round robin: each turn every candidate gains its weight, the richest one pays the sum and is taken.
local function weighted(ready, count, time, tried)
    local best, sum = nil, 0
    for index = 1, count do
        local peer = ready[index]
        if usable(peer, time, tried) then
            peer.current = peer.current + peer.weight
            sum = sum + peer.weight
            if not best or peer.current > best.current then
                best = peer
            end
        end
    end
    if best then
        best.current = best.current - sum
    end
    return best
end

-- The next in turn. Also among equals in `least`, so that idle endpoints share the work.
local function in_turn(service, ready, count, time, tried)
    local turn = service.turn
    for _ = 1, count do
        turn = turn % count + 1
        local peer = ready[turn]
        if usable(peer, time, tried) then
            service.turn = turn
            return peer
        end
    end
end

-- Fewest open requests of this worker per weight.
local function least(service, ready, count, time, tried)
    local turn, best, best_turn = service.turn, nil, nil
    for _ = 1, count do
        turn = turn % count + 1
        local peer = ready[turn]
        if usable(peer, time, tried)
            and (not best or peer.open * best.weight < best.open * peer.weight) then
            best, best_turn = peer, turn
        end
    end
    service.turn = best_turn or service.turn
    return best
end

local function among(service, by_least, time, tried)
    local ready, count = service.ready, service.count
    if by_least then
        return least(service, ready, count, time, tried)
    end
    if service.equal then
        return in_turn(service, ready, count, time, tried)
    end
    return weighted(ready, count, time, tried)
end

-- The endpoint for a request, or nil. `tried`: set of the peers that this request could not reach.
function M.pick(service, by_least, tried)
    return among(service, by_least, now(), tried) or among(service, by_least, math.huge, tried)
end

-- The same for the first `count` of several lists of endpoints, each with what `ready`, `count`, `equal` and `turn` are
-- of a service: from the first that has one which is not skipped, else from the first that has any.
function M.among_lists(lists, count, by_least, tried)
    local time = now()
    for round = 1, 2 do
        for index = 1, count do
            local peer = among(lists[index], by_least, time, tried)
            if peer then
                return peer
            end
        end
        time = math.huge
    end
end

return M
