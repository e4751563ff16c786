-- What gRPC understands: its consumers want every answer with status 200 and what became of the call in `grpc-status`;
-- what is none they can only guess from. And the other way round, which answers of an instance are failures.

local find = string.find
local var = ngx.var

local M = {}

-- What the gateway answers itself, in gRPC's numbers; what is not listed is UNKNOWN. As in Envoy, but for 429, which says
-- that it was the consumer who came too often.
local UNKNOWN, RESOURCE_EXHAUSTED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE = 2, 8, 12, 13, 14
local STATUSES = {
    [400] = INTERNAL, [401] = 16, [403] = 7, [404] = UNIMPLEMENTED, [405] = UNIMPLEMENTED, [413] = RESOURCE_EXHAUSTED,
    [429] = RESOURCE_EXHAUSTED, [502] = UNAVAILABLE, [503] = UNAVAILABLE, [504] = UNAVAILABLE,
}

-- What an instance answers, as the status of HTTP that says the same. An instance that refuses a call for what is in it
-- has not failed, nor one that was asked for a method that it does not have.
local FAILED = {["2"] = 500, ["4"] = 504, ["13"] = 500, ["14"] = 503, ["15"] = 500}

-- Whether this request is a call. Only asked where the gateway answers itself.
function M.asked()
    local kind = var.http_content_type
    return kind and var.server_protocol == "HTTP/2.0"
        and (kind == "application/grpc" or find(kind, "application/grpc+", 1, true) == 1)
end

-- The answer to a call that is refused with this status of HTTP. `reason` is in plain letters.
function M.answer(status, reason)
    ngx.status = ngx.HTTP_OK
    ngx.header["Content-Type"] = "application/grpc"
    ngx.header["Content-Length"] = 0
    ngx.header["grpc-status"] = STATUSES[status] or UNKNOWN
    ngx.header["grpc-message"] = reason
    ngx.send_headers()
    return ngx.exit(ngx.HTTP_OK)
end

-- The status of an instance's answer, whose status of HTTP is nearly always 200.
function M.status(status)
    return FAILED[var.upstream_trailer_grpc_status or var.upstream_http_grpc_status] or status
end

return M
