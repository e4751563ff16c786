-- The policy that asks who sends a request, in one of the ways that the route takes: the first way in which anything was
-- shown decides. What is not right is answered in the same words, whatever it is that is not.

local api_key = require "coldchain.api_key"
local documents = require "coldchain.documents"
local identity = require "coldchain.identity"
local jwt = require "coldchain.jwt"
local signature = require "coldchain.signature"

local given, set_of = documents.given, documents.set_of

local M = {ended = identity.ended}

local MISSING = "this route asks who you are"
local WRONG = "what you show is not valid"
local NOT_HIS = "this consumer may not use this route"

local WAYS = {{"apiKey", api_key}, {"signature", signature}, {"jwt", jwt}}  -- in the order in which they are looked for

-- Whether a consumer is one of those that the route lets in.
local function admits(names, groups, name, consumer)
    if names[name] then
        return true
    end
    for _, group in ipairs(consumer and consumer.groups or {}) do
        if groups[group] then
            return true
        end
    end
    return false
end

local function ways_of(wanted)
    local ways, challenges = {}, {}
    for _, way in ipairs(WAYS) do
        local rule = given(wanted[way[1]])
        if rule then
            ways[#ways + 1], challenges[#challenges + 1] = way[2].make(rule)
        end
    end
    return ways, table.concat(challenges, ", ")
end

-- What the consumer himself wrote there is gone.
local function tell(claims, said)
    for name in pairs(claims) do
        ngx.req.set_header(name, said and said[name])
    end
end

-- A way is a function that returns whether anything was shown, and whose it is: a consumer, or a table with a name that
-- is none on record; nil, a status and the reason where it is not only wrong; and what the app is to know, by header.
function M.make(filters)
    local wanted = given(filters.authentication)
    if not wanted then
        return nil
    end
    local ways, challenge = ways_of(wanted)
    local names, groups = set_of(wanted.consumers), set_of(wanted.groups)
    local everyone = next(names) == nil and next(groups) == nil
    local claims = given(wanted.jwt) and given(wanted.jwt.headers) or nil
    local headers = {["WWW-Authenticate"] = challenge}
    return function(_, key)
        for index = 1, #ways do
            local shown, consumer, status, reason, said = ways[index]()
            if shown then
                if not consumer then
                    return status or 401, reason or WRONG, not status and headers or nil
                end
                if not everyone and not admits(names, groups, consumer.name, consumer) then
                    return 403, NOT_HIS
                end
                identity.set(key, consumer.name, consumer.groups_text)
                if claims then
                    tell(claims, said)
                end
                return nil
            end
        end
        return 401, MISSING, headers
    end
end

return M
