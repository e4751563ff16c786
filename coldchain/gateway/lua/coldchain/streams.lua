-- Which of the open requests are streams, that nobody can wait for: WebSockets, events, gRPC, once their answer began.
--
-- Only requests at endpoints that get no new ones are looked at, and from outside, by the address of nginx's request
-- structure: it is in `peer_of` from the choice of an endpoint to the log phase, and as long it is there. So a request
-- pays nothing for it.

local ffi = require "ffi"
require "resty.core"

local find, match = string.find, string.match

local M = {}

local SWITCHED = 101
local TYPE = "sent_http_content_type"
local lowered, value, length = ffi.new("char[?]", #TYPE + 1), ffi.new("char *[1]"), ffi.new("size_t[1]")
local problem = ffi.new("char *[1]")

local peer_of, sent_of = {}, {}
local known = {}  -- request → when it was sent, below 0 for one that is no stream

-- `peers`, `sent`: of every open request by its key the endpoint, and since when it is there.
function M.init(peers, sent)
    peer_of, sent_of = peers, sent
end

-- nil while there is no answer yet.
local function is_stream(key)
    local request = ffi.cast("ngx_http_request_t *", key)
    local status = ffi.C.ngx_http_lua_ffi_get_resp_status(request)
    if status <= 0 then
        return nil
    end
    if status == SWITCHED then
        return true
    end
    if ffi.C.ngx_http_lua_ffi_var_get(request, TYPE, #TYPE, lowered, 0, value, length, problem) ~= 0 then
        return false
    end
    local kind = ffi.string(value[0], length[0])
    return find(kind, "^text/event%-stream") ~= nil or find(kind, "^application/grpc") ~= nil
end

-- Open streams at endpoints of weight 0, by service and instance; those without any are left out.
function M.draining()
    local counts, seen = {}, {}
    for key, peer in pairs(peer_of) do
        if peer.weight == 0 then
            local sent, mark = sent_of[key], known[key]
            if not mark or math.abs(mark) ~= sent then
                local stream = is_stream(key)
                mark = stream == nil and nil or (stream and sent or -sent)
            end
            seen[key] = mark
            if mark and mark > 0 then
                local service = match(peer.counter.key, "^(.-)\n")
                counts[service] = counts[service] or {}
                counts[service][peer.instance_id] = (counts[service][peer.instance_id] or 0) + 1
            end
        end
    end
    known = seen
    return counts
end

return M
