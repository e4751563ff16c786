-- Instances that fail are left alone for a while, longer each time, and come back by one request on trial. Each worker
-- decides by what it sees itself; what it knows hangs on the peer, so never on an address that another instance has now.

local documents = require "coldchain.documents"
local traffic = require "coldchain.traffic"

local floor, max, min = math.floor, math.max, math.min

local M = {}

local TRIAL_SECONDS = 10  -- after which another request may try, where the first one has not ended

local out = {}  -- peers that are ejected or on trial → true

-- Whether one more may go: never past the share of the ready ones that its route allows.
local function may_go(service, wanted)
    local gone = 0
    for index = 1, service.count do
        if out[service.ready[index]] then
            gone = gone + 1
        end
    end
    return gone + 1 <= floor(service.count * wanted.instancesShareMax + 1e-9)
end

local function eject(peer, wanted, time)
    if peer.ejected_until and time - peer.ejected_until > wanted.secondsMax then
        peer.ejections = 0
    end
    peer.ejections = (peer.ejections or 0) + 1
    local seconds = min(wanted.secondsMax, wanted.seconds * 2 ^ min(peer.ejections - 1, 30))
    peer.ejected_until, peer.trial, peer.ejection = time + seconds, nil, wanted
    peer.skipped_until = peer.ejected_until
    peer.failures, peer.window = 0, nil
    out[peer] = true
    traffic.ejected(peer.counter)
end

local function back(peer, time)
    out[peer], peer.trial = nil, nil
    peer.skipped_until, peer.came = 0, time
end

-- Whether the share of failures of the running window is too high.
local function too_many(peer, wanted, failed, time)
    if not documents.given(wanted.errorShare) then
        return false
    end
    local window = peer.window
    if not window or time - window.since > wanted.windowSeconds then
        window = {since = time, requests = 0, failures = 0}
        peer.window = window
    end
    window.requests = window.requests + 1
    window.failures = window.failures + (failed and 1 or 0)
    return window.requests >= wanted.requestsMin and window.failures >= window.requests * wanted.errorShare
end

-- A peer that was ejected gets a request: its trial, once its time is over.
function M.chosen(peer, time)
    if out[peer] and time >= peer.ejected_until then
        peer.trial = true
        peer.skipped_until = time + TRIAL_SECONDS
    end
end

-- What became of a request. `wanted`: the ejection of its route, nil for none; `failed` nil: nobody knows.
function M.ended(service, peer, wanted, failed, time)
    if peer.trial then
        if failed then
            eject(peer, peer.ejection, time)
        elseif failed == false then
            back(peer, time)
        else
            peer.skipped_until = time
        end
        return
    end
    if out[peer] then
        peer.skipped_until = max(peer.skipped_until, peer.ejected_until)  -- it answers what came before
        return
    end
    if not wanted or failed == nil then
        return
    end
    peer.failures = failed and (peer.failures or 0) + 1 or 0
    local bad = too_many(peer, wanted, failed, time) or peer.failures >= wanted.consecutiveErrors
    if failed and bad and service and may_go(service, wanted) then
        eject(peer, wanted, time)
    end
end

-- The endpoint is gone, or gets no requests any more.
function M.forget(peer)
    if out[peer] then
        out[peer], peer.trial, peer.ejected_until, peer.ejections = nil, nil, nil, 0
        peer.skipped_until = 0
    end
end

-- Those of this worker by service and instance.
function M.now()
    local found = {}
    for peer in pairs(out) do
        local counter = peer.counter
        found[counter.service] = found[counter.service] or {}
        found[counter.service][counter.instance] = 1
    end
    return found
end

return M
