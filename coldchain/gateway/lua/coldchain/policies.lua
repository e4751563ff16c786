-- What a route asks of a request before it goes on: from where it may come, who sends it, how much he may, what is in it.
--
-- A policy is a module with `make(filters, rule)`, called when a route is taken over, which returns nil where the route
-- does not ask for it, else a function of (route, key). That returns nil when the request goes on, or the status of the
-- refusal, the reason in words, and headers of the answer. A module may have `ended(key)`, called when the request is over.

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

-- nil when the request goes on.
function M.ask(route, key)
    local policies = route.policies
    for index = 1, #policies do
        local status, reason, headers = policies[index](route, key)
        if status then
            return status, reason, headers
        end
    end
end

-- After the last phase of a request whose route has policies.
function M.ended(key)
    for _, module in ipairs(MODULES) do
        if module.ended then
            module.ended(key)
        end
    end
end

return M
