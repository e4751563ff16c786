-- How much may come: rates and numbers of open requests, by route, service, address or consumer. A policy of routes.

local buckets = require "coldchain.buckets"
local client = require "coldchain.client"
local counts = require "coldchain.counts"
local documents = require "coldchain.documents"
local identity = require "coldchain.identity"
local shares = require "coldchain.shares"
local tallies = require "coldchain.tallies"
local waiting = require "coldchain.waiting"

local ceil, floor, max, format = math.ceil, math.floor, math.max, string.format
local now, sub = ngx.now, string.sub

local given = documents.given

local M = {}

local NETWORK_BYTES = 8  -- of an IPv6 address: who has one, has all that begin so
local BUSY_SECONDS = 1  -- when to come again where nobody knows

local limits_of = setmetatable({}, {__mode = "k"})  -- policy of a route → its limits
local held_of = {}  -- request → keys of what it is counted in

-- `key` names it among all limits, for counts, shares and metrics alike.
local function limit_of(one, rule)
    local rate, queue = given(one.rate), given(one.queue)
    local owner = one.by == "service" and rule.service or rule.name or rule.service .. rule.path
    local kind = rate and format("rate/%gs", one.perSeconds) or "concurrency"
    local limit = {
        key = format("%s %s by %s", owner, kind, one.by), by = one.by, queue = queue,
        shows = one.showRemaining == true, most = rate and rate / one.perSeconds or one.concurrency, rate = rate,
    }
    if rate then
        limit.interval = one.perSeconds / rate
        limit.full = (given(one.burst) or max(1, floor(rate))) * limit.interval
    end
    local labels = "limit=" .. tallies.quoted(limit.key)
    limit.passed = tallies.key("limit_requests_total", labels .. ',outcome="passed"')
    limit.refused = tallies.key("limit_requests_total", labels .. ',outcome="refused"')
    return limit
end

-- What the limit counts this request under.
local function subject_of(limit, key)
    local by = limit.by
    if by == "route" or by == "service" then
        return limit.key
    end
    local consumer = by == "consumer" and identity.of(key)
    if consumer then
        return limit.key .. "\nconsumer " .. consumer
    end
    local address = client.address() or ""
    return limit.key .. "\naddress " .. sub(address, 1, #address == 16 and NETWORK_BYTES or #address)
end

local function rate_of(limit, share)
    return tostring(max(1, floor(limit.rate * share)))
end

local function refuse_rate(limit, share, wait)
    local seconds = tostring(max(1, ceil(wait)))
    return 429, "too many requests", {
        ["Retry-After"] = seconds, ["RateLimit-Reset"] = seconds,
        ["RateLimit-Limit"] = rate_of(limit, share), ["RateLimit-Remaining"] = "0",
    }
end

-- On an answer that is none of a limit; where several say what is left, that of which the least is.
local function show(limit, remaining, seconds)
    local headers = ngx.header
    headers["RateLimit-Limit"] = rate_of(limit, shares.of(limit.key))
    headers["RateLimit-Remaining"] = tostring(remaining)
    headers["RateLimit-Reset"] = tostring(ceil(seconds))
end

local function refuse_concurrency(limit)
    local headers = {["Retry-After"] = tostring(BUSY_SECONDS)}
    if limit.by == "address" or limit.by == "consumer" then
        return 429, "too many open requests", headers
    end
    return 503, "too many open requests", headers
end

local function hold(limit, subject, key)
    local most, queue = max(1, floor(limit.most * shares.of(limit.key))), limit.queue
    local taken = not waiting.any(subject) and counts.take(subject, most)
    if not taken and queue then
        taken = waiting.wait(key, subject, most, queue.length, queue.seconds)
    end
    if taken then
        local held = held_of[key] or {}
        held_of[key] = held
        held[#held + 1] = subject
    end
    return taken
end

-- nil when the request may pass, else status, reason and headers; of a limit that says so what is left of it, and in how
-- many seconds all of it will be there again.
local function ask_one(limit, key)
    local subject = subject_of(limit, key)
    local left, seconds
    if limit.interval then
        local share = shares.of(limit.key)
        local interval = limit.interval / share
        local full = max(limit.full, interval)
        local wait, until_full = buckets.take(subject, interval, full, now())
        if wait then
            tallies.add(limit.refused)
            return refuse_rate(limit, share, wait)
        elseif limit.shows then
            left, seconds = max(0, floor((full - until_full) / interval + 1e-6)), until_full
        end
    elseif not hold(limit, subject, key) then
        tallies.add(limit.refused)
        return refuse_concurrency(limit)
    end
    tallies.add(limit.passed)
    return nil, nil, nil, left, seconds
end

-- The rates first, so that nobody waits for a place who may not come at all. What a request that is refused took of
-- other rates is given back; what it holds ends with it.
local function ask_all(limits, key)
    local shown, least, until_full
    for index = 1, #limits do
        local limit = limits[index]
        local status, reason, headers, left, seconds = ask_one(limit, key)
        if status then
            for before = 1, index - 1 do
                local other = limits[before]
                if other.interval then
                    buckets.give_back(subject_of(other, key), other.interval / shares.of(other.key))
                end
            end
            return status, reason, headers
        elseif left and (not shown or left < least) then
            shown, least, until_full = limit, left, seconds
        end
    end
    if shown then
        show(shown, least, until_full)
    end
end

function M.make(filters, rule)
    local wanted = given(filters.limits)
    if not wanted or #wanted == 0 then
        return nil
    end
    local rates, others = {}, {}
    for _, one in ipairs(wanted) do
        local list = given(one.rate) and rates or others
        list[#list + 1] = limit_of(one, rule)
    end
    for _, limit in ipairs(others) do
        rates[#rates + 1] = limit
    end
    local function policy(_, key)
        if rates[2] then
            return ask_all(rates, key)
        end
        -- nearly always: without a loop it is compiled with the rest of the request
        local status, reason, headers, left, seconds = ask_one(rates[1], key)
        if left then
            show(rates[1], left, seconds)
        end
        return status, reason, headers
    end
    limits_of[policy] = rates
    return policy
end

function M.ended(key)
    waiting.ended(key)
    local held = held_of[key]
    if held then
        held_of[key] = nil
        for index = 1, #held do
            counts.release(held[index])
            waiting.wake(held[index])
        end
    end
end

-- All limits of the routes of these domains, by key.
local function known(domains)
    local found = {}
    for _, routes in pairs(domains) do
        for _, route in ipairs(routes) do
            for _, policy in ipairs(route.policies or {}) do
                for _, limit in ipairs(limits_of[policy] or {}) do
                    found[limit.key] = limit
                end
            end
        end
    end
    return found
end

-- What every limit of the routes of these domains was asked for: {[key] = {most, rate, single, asked, refused, held,
-- waiting, share}}. `single`: it counts all requests together, so that `most` is what all may have.
function M.use(domains)
    local use = {}
    for key, limit in pairs(known(domains)) do
        local single = limit.by == "route" or limit.by == "service"
        local refused = tallies.get(limit.refused)
        use[key] = {
            most = limit.most, rate = limit.rate ~= nil, single = single, share = shares.of(key),
            asked = tallies.get(limit.passed) + refused, refused = refused,
            held = not limit.rate and single and counts.total(key) or 0,
            waiting = not limit.rate and single and waiting.total(key) or 0,
        }
    end
    return use
end

-- The lines of metrics that these limits have, as a set.
function M.lines(domains)
    local lines = {}
    for _, limit in pairs(known(domains)) do
        lines[limit.passed], lines[limit.refused] = true, true
    end
    return lines
end

return M
