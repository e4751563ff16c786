-- How many requests of each service the gateway itself refused, or would have, and why. In the memory of traffic.lua.

local values = ngx.shared.coldchain_traffic

local M = {
    REASONS = {
        "address", "credentials_missing", "credentials_wrong", "consumer", "credentials_unchecked",
        "firewall", "firewall_body", "firewall_missing", "firewall_detected",
    },
}

local function key(service, reason)
    return "refused\n" .. service .. "\n" .. reason
end

function M.count(service, reason)
    values:incr(key(service, reason), 1, 0)
end

function M.counted(service, reason)
    return values:get(key(service, reason)) or 0
end

return M
