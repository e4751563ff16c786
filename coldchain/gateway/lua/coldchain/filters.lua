-- What the gateway does with requests of a route that asks for it: a rewritten path, a redirection, changed headers, a
-- limit for the body. All of it is prepared when the route is taken over, so that a request does as little as possible.

local documents = require "coldchain.documents"
local sub, gsub, byte, find = string.sub, string.gsub, string.byte, string.find
local replace = ngx.re.sub
local var = ngx.var

local given = documents.given

local M = {}

local DEFAULT_PORTS = {http = "80", https = "443"}

local function changes_of(changes)
    changes = given(changes)
    if not changes then
        return nil
    end
    local made = {}
    for _, name in ipairs(changes.remove or {}) do
        made[#made + 1] = {name, nil}
    end
    for name, value in pairs(changes.set or {}) do
        made[#made + 1] = {name, value}
    end
    return #made > 0 and made or nil
end

-- The filters of a route as they are carried out, nil for none.
function M.make(wanted)
    wanted = given(wanted)
    if not wanted then
        return nil
    end
    local redirect = given(wanted.redirect)
    return {
        rewrite = given(wanted.rewrite),
        redirect = redirect,
        redirect_path = redirect and given(redirect.path),
        -- with nothing but a scheme: those that came by it go on
        redirect_scheme = redirect and not given(redirect.domain) and not given(redirect.path)
            and given(redirect.scheme),
        request = changes_of(wanted.requestHeaders),
        response = changes_of(wanted.responseHeaders),
        timeout_seconds = given(wanted.timeoutSeconds),
        body_bytes_max = given(wanted.bodyBytesMax),
        tries = given(wanted.tries),
        grpc = given(wanted.protocol) == "grpc",
    }
end

-- The path with `wanted` in the place of what the route matched.
local function rewritten(route, path, wanted)
    if route.exact then
        return wanted
    end
    if route.pattern then
        local found = replace(path, route.pattern, wanted, "jo") or path
        return byte(found) == 47 and found or "/" .. found
    end
    local rest = sub(path, route.length + 1)
    if rest == "" then
        return wanted
    end
    return gsub(wanted, "/+$", "") .. rest
end

-- Whether a request of a route is sent elsewhere.
function M.redirects(filters)
    return filters.redirect and filters.redirect_scheme ~= var.scheme
end

-- Where a request of a route with a redirection is sent.
function M.location(route)
    local redirect = route.filters.redirect
    local scheme = given(redirect.scheme) or var.scheme
    local host = given(redirect.domain) or gsub(var.http_host or var.server_addr, ":%d*$", "")
    local port = scheme == var.scheme and not given(redirect.domain) and var.server_port or DEFAULT_PORTS[scheme]
    local path = route.filters.redirect_path and rewritten(route, var.uri, route.filters.redirect_path) or var.uri
    local query = var.args
    return scheme .. "://" .. host .. (port == DEFAULT_PORTS[scheme] and "" or ":" .. port)
        .. ngx.escape_uri(path, 0) .. (query and "?" .. query or "")
end

-- Whether the body is longer than allowed. Of one whose length is not told, only after it was read.
local function too_long(most)
    local length = tonumber(var.http_content_length)
    if length then
        return length > most
    end
    if not var.http_transfer_encoding and not find(var.server_protocol, "2", 1, true) then
        return false
    end
    ngx.req.read_body()
    local data, file = ngx.req.get_body_data(), ngx.req.get_body_file()
    if data then
        return #data > most
    end
    local opened = file and io.open(file, "rb")
    if not opened then
        return false
    end
    local size = opened:seek("end")
    opened:close()
    return size > most
end

-- Before an endpoint is chosen. Returns the status of a refusal, nil when the request goes on.
function M.request(route)
    local filters = route.filters
    if filters.body_bytes_max and too_long(filters.body_bytes_max) then
        return 413
    end
    if filters.rewrite then
        ngx.req.set_uri(rewritten(route, var.uri, filters.rewrite))
    end
    if filters.request then
        for _, change in ipairs(filters.request) do
            ngx.req.set_header(change[1], change[2])
        end
    end
end

-- On an answer of an instance.
function M.response(route)
    local filters = route and route.filters
    if filters and filters.response then
        for _, change in ipairs(filters.response) do
            ngx.header[change[1]] = change[2]
        end
    end
end

return M
