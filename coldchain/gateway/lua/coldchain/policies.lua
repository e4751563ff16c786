-- What a route asks of a request before it goes on: from where it may come, who sends it, how much he may, what is in it.
--
-- A policy is a module with `make(filters, rule)`, called when a route is taken over, which returns nil where the route
-- does not ask for it, else a function of (route, key). That returns nil when the request goes on, or the status of the
-- refusal, the reason in words, and headers of the answer. What a module keeps of a request it forgets in `ended(key)`.

local addresses = require "coldchain.addresses"
local authentication = require "coldchain.authentication"
local documents = require "coldchain.documents"
local firewall = require "coldchain.firewall"
local limits = require "coldchain.limits"

local M = {}

local MODULES = {addresses, authentication, limits, firewall}  -- in the order in which they are asked

-- The policies of a route as they are asked, nil for none. `filters` of `rule` as they were sent, ngx.null or nil for
-- none.
function M.make(filters, rule)
    if not documents.given(filters) then
        return nil
    end
    local made = {}
    for _, module in ipairs(MODULES) do
        made[#made + 1] = module.make(filters, rule)
    end
    return #made > 0 and made or nil
end

-- nil when the request goes on. One by one and not in a loop: LuaJIT would compile that by itself, or not at all and
-- then nothing of what a request does.
function M.ask(route, key)
    local policies = route.policies
    local status, reason, headers = policies[1](route, key)
    if not status and policies[2] then
        status, reason, headers = policies[2](route, key)
        if not status and policies[3] then
            status, reason, headers = policies[3](route, key)
            if not status and policies[4] then
                status, reason, headers = policies[4](route, key)
            end
        end
    end
    return status, reason, headers
end

-- After the last phase of a request whose route has policies.
function M.ended(key)
    authentication.ended(key)
    limits.ended(key)
end

return M
