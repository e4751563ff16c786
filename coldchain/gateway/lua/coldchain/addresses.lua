-- The policy that lets requests in by the address that they come from: never those in `deny`, and only those in `allow`
-- where there is one. An address that nobody knows is let in nowhere.

local client = require "coldchain.client"
local documents = require "coldchain.documents"
local networks = require "coldchain.networks"

local M = {}

local REFUSED = "requests from this address are not let in here"

local function everybody()
    return 403, REFUSED
end

function M.make(filters)
    local wanted = documents.given(filters.addresses)
    if not wanted then
        return nil
    end
    local deny, wrong_deny = networks.set(wanted.deny)
    local allow, wrong_allow = networks.set(wanted.allow)
    if wrong_deny or wrong_allow then
        ngx.log(ngx.ERR, "a route lets nobody in: ", wrong_deny or wrong_allow)
        return everybody
    end
    return function()
        local address = client.address()
        if not address or (deny and networks.has(deny, address)) or (allow and not networks.has(allow, address)) then
            return 403, REFUSED
        end
    end
end

return M
