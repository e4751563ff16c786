-- Which of the open requests are streams, that nobody can wait for: WebSockets, events, gRPC, once their answer began.
--
-- Only requests at endpoints that get no new ones are looked at, and from outside, by the address of nginx's request
-- structure: it is in `peer_of` from the choice of an endpoint to the log phase, and as long it is there. So a request
-- pays nothing for it.
--
-- Those of an endpoint that is marked `cut`, or of all when the gateway itself leaves, are ended: connections.lua ends
-- what the instance has to say, and nginx ends the request as it does when an instance is done.

local ffi = require "ffi"
local connections = require "coldchain.connections"
local tallies = require "coldchain.tallies"
require "resty.core"

local control = ngx.shared.coldchain_control
local find = string.find

local M = {all = false}  -- `all`: every stream is to end, whatever its endpoint

local SWITCHED = 101
local TYPE = "sent_http_content_type"
local lowered, value, length = ffi.new("char[?]", #TYPE + 1), ffi.new("char *[1]"), ffi.new("size_t[1]")
local problem = ffi.new("char *[1]")

local peer_of, sent_of = {}, {}
local known = {}  -- request → when it was sent, below 0 for one that is no stream
local ended = {}  -- request → the same, of those that were told to end

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

-- Whether the request is a stream, remembered: what began to be one stays one.
local function known_stream(key)
    local sent, mark = sent_of[key], known[key]
    if not mark or math.abs(mark) ~= sent then
        local stream = is_stream(key)
        mark = stream == nil and nil or (stream and sent or -sent)
    end
    return mark
end

-- Not by `incr` with a first value: where the memory is full that takes the place of something else.
local function count_cut(key)
    if not control:incr(key, 1) then
        local _, problem = control:safe_add(key, 1)
        if problem == "exists" then
            control:incr(key, 1)
        end
    end
end

-- What cannot be ended is not tried again.
local function cut(key, peer)
    local done, problem = connections.finish(key, peer.address, peer.port)
    if done then
        local counter = peer.counter
        count_cut("cut:" .. peer.instance_id)
        tallies.add(tallies.key("streams_cut_total",
            "service=" .. tallies.quoted(counter.service) .. ",instance=" .. tallies.quoted(counter.instance)))
    elseif problem then
        ngx.log(ngx.ERR, "a stream of instance ", peer.instance_id, " cannot be ended: ", problem)
    end
end

local function count(counts, peer)
    local service = peer.counter.service
    counts[service] = counts[service] or {}
    counts[service][peer.instance_id] = (counts[service][peer.instance_id] or 0) + 1
end

-- Open streams at endpoints of weight 0, by service and instance; those without any are left out. Those that are to end
-- are ended, and count until they have.
function M.draining()
    local counts, seen, gone = {}, {}, {}
    for key, peer in pairs(peer_of) do
        if peer.weight == 0 or M.all then
            local mark = known_stream(key)
            seen[key] = mark
            if mark and mark > 0 then
                if peer.weight == 0 then
                    count(counts, peer)
                end
                if peer.cut or M.all then
                    if ended[key] ~= mark then
                        cut(key, peer)
                    end
                    gone[key] = mark
                end
            end
        end
    end
    known, ended = seen, gone
    return counts
end

return M
