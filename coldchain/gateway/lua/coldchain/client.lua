-- From where a request comes: the address of its connection or, where that is a proxy's which the settings trust, what
-- that proxy says. Nobody else's X-Forwarded-For counts.

local networks = require "coldchain.networks"

local gmatch, match = string.gmatch, string.match
local var = ngx.var

local M = {}

local trusted

-- `proxies`: the networks of those that are believed.
function M.init(proxies)
    local problem
    trusted, problem = networks.set(proxies)
    assert(not problem, problem)
end

-- As proxies write it: also with a port, and IPv6 in brackets.
local function parsed(text)
    return networks.binary(match(text, "^%[(.+)%]:?%d*$") or match(text, "^([%d.]+):%d+$") or text)
end

-- The right-most address that no trusted proxy has; the left-most one where all are trusted; nil where a trusted
-- proxy's word is no address: then nobody knows.
local function forwarded(peer, text)
    local hops = {}
    for hop in gmatch(text, "[^,]+") do
        hops[#hops + 1] = match(hop, "^%s*(.-)%s*$")
    end
    local known = peer
    for index = #hops, 1, -1 do
        if not networks.has(trusted, known) then
            return known
        end
        known = parsed(hops[index])
        if not known then
            return nil
        end
    end
    return known
end

-- 4 or 16 bytes; nil where nobody knows, as of what comes by a unix socket.
function M.address()
    local peer = var.binary_remote_addr
    if #peer ~= 4 and #peer ~= 16 then
        return nil
    end
    peer = networks.plain(peer)
    local said = trusted and networks.has(trusted, peer) and var.http_x_forwarded_for
    if not said then
        return peer
    end
    return forwarded(peer, said)
end

return M
