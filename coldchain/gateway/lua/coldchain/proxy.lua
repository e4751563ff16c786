-- What happens to a request: a route is found, an endpoint is chosen, failures to connect are tried elsewhere, and
-- every open request is counted at its endpoint from the choice to the end.
--
-- What is known of a request is kept by the address of its nginx structure and not in ngx.ctx: it has to survive the
-- redirect to the error page, and it is cheaper. The log phase runs for every request and removes it.

local ffi = require "ffi"
local balancer = require "ngx.balancer"
local base = require "resty.core.base"
local choice = require "coldchain.choice"
local ejection = require "coldchain.ejection"
local filters = require "coldchain.filters"
local gray = require "coldchain.gray"
local grpc = require "coldchain.grpc"
local matching = require "coldchain.matching"
local policies = require "coldchain.policies"
local rotation = require "coldchain.rotation"
local shedding = require "coldchain.shedding"
local slow_start = require "coldchain.slow_start"
local tallies = require "coldchain.tallies"
local streams = require "coldchain.streams"
local traffic = require "coldchain.traffic"
local workers = require "coldchain.workers"

local set_current_peer, set_more_tries = balancer.set_current_peer, balancer.set_more_tries
local set_timeouts = balancer.set_timeouts
local get_request, cast, tonumber = base.get_request, ffi.cast, tonumber
local pick, find_routes, find_route = choice.pick, rotation.routes, matching.find
local find, match, sub = string.find, string.match, string.sub
local floor, min = math.floor, math.min
local now = ngx.now
local var = ngx.var

local M = {log_accesses = false}

local NO_ENDPOINT = -3  -- nginx's own answer of a balancer without a choice (NGX_BUSY): it ends the request, no retry
local CONSUMER_LEFT = 499  -- nginx's own
local SWITCHED = 101
local EVENTS = "text/event-stream"
local QUICK_SECONDS = 0.005
local TRIES_MAX = 5
local SKIP_SECONDS = 1
local FIRST_ROTATION_SECONDS = 2

local route_of = {}  -- request → route
local peer_of = {}   -- request → peer that it is open at
local sent_of = {}   -- request → when it went to that peer
local story_of = {}  -- request → {tried, instances, status, meant, reason, faulted}, only of those that went wrong somewhere

local REDIRECTED = "redirected"
local NOT_READY = "the gateway is not ready"
local TOO_MUCH, BUSY = "the gateway has too much to do", {["Retry-After"] = "1"}
streams.init(peer_of, sent_of)

local UNREACHABLE = "no instance can be reached"
local REASONS = {
    [400] = "the request is malformed",
    [405] = "the method is not allowed",
    [413] = "the request body is too large",
    [414] = "the request line is too long",
    [494] = "the request headers are too large",
    [500] = "the gateway failed",
    [501] = "the request is sent in a way that is not known",
    [502] = "the instance broke off the connection",
    [503] = "no instance is in rotation",
    [504] = "the instance did not answer in time",
    [505] = "the version of HTTP is not known",
}

local function request_key()
    return tonumber(cast("uintptr_t", get_request()))
end

local function story(key)
    local one = story_of[key]
    if not one then
        one = {tried = {}, instances = {}}
        story_of[key] = one
    end
    return one
end

local function answer(key, status, reason)
    if grpc.asked() then
        story(key).meant = status
        return grpc.answer(status, reason)
    end
    local body = '{"message": "' .. reason .. '"}\n'
    ngx.status = status
    ngx.header["Content-Type"] = "application/json"
    ngx.header["Content-Length"] = #body
    ngx.print(body)
    return ngx.exit(ngx.HTTP_OK)
end

local function refuse(key, status, reason, headers)
    story(key).reason = reason
    for name, value in pairs(headers or {}) do
        ngx.header[name] = value
    end
    return answer(key, status, reason)
end

local function redirect(key, location, status)
    story(key).reason = REDIRECTED
    ngx.status = status
    ngx.header["Location"] = location
    ngx.header["Content-Length"] = 0
    ngx.send_headers()
    return ngx.exit(ngx.HTTP_OK)
end

-- A gateway that was never told anything (a fresh start) waits for its first rotation instead of saying 404.
local function await_first_rotation()
    for _ = 1, FIRST_ROTATION_SECONDS / 0.02 do
        if rotation.revision > 0 then
            return
        end
        ngx.sleep(0.02)
    end
end

-- Whether this worker has any request that may still choose an endpoint or is open at one.
function M.busy()
    return next(route_of) ~= nil
end

function M.access()
    if rotation.revision == 0 then
        await_first_rotation()
        if rotation.revision == 0 and rotation.behind() then
            return refuse(request_key(), 503, NOT_READY, BUSY)  -- others know the routes
        end
    end
    local key, host = request_key(), var.http_host
    local routes = find_routes(host)
    local route = routes and find_route(routes)
    if not route then
        return refuse(key, 404, "no route for this host and path")
    end
    route_of[key] = route
    shedding.open = shedding.open + 1
    local filtered = route.filters
    if filtered and filters.redirects(filtered) then
        return redirect(key, filters.location(route), filtered.redirect.status)
    end
    if shedding.level >= route.rank then
        return refuse(key, 503, TOO_MUCH, BUSY)
    end
    if route.policies then
        local status, reason, headers = policies.ask(route, key)
        if status then
            return refuse(key, status, reason, headers)
        end
    end
    local service = rotation.services[route.service]
    if not service or service.count == 0 then
        return refuse(key, 503, REASONS[503])
    end
    if filtered then
        local status = filters.request(route)
        if status then
            return refuse(key, status, REASONS[status])
        end
    end
    local answer_changes = filtered and filtered.response
    if service.gray and gray.choose(service, key) then
        answer_changes = true
    end
    if not host or host == "" then
        var.coldchain_hostless = var.server_addr
    end
    if filtered and filtered.grpc then
        ngx.req.set_uri(var.uri)
        return ngx.exec("@grpc")
    end
    if workers.draining then
        -- nginx decides with the location whether the connection stays: @closing has a keepalive_timeout of 0.
        ngx.req.set_uri(var.uri)
        return ngx.exec("@closing")
    end
    if answer_changes then
        ngx.req.set_uri(var.uri)
        return ngx.exec("@filtered")
    end
end

-- The headers of an answer, where a route or a gray release changes some; @filtered, @closing and @grpc ask.
function M.header_filter()
    local key = request_key()
    filters.response(route_of[key])
    gray.response(key)
end

local function end_request(key, status, reason)
    local one = story(key)
    one.status, one.reason = status, reason
    return ngx.exit(NO_ENDPOINT)
end

-- Whether the last try brought nothing to the app: no byte went out on its connection. nginx counts them anew for each
-- request on a kept-alive connection; $upstream_connect_time would not do, it is set for refused connections too.
local function unreached()
    return match(var.upstream_bytes_sent or "", "(%d+)[ :,]*$") == "0"
end

-- Whether the instance failed, for those who leave it alone for a while; nil where nobody knows.
local function judge(route, peer, failed)
    if route.ejection or peer.ejected_until then
        ejection.ended(rotation.services[route.service], peer, route.ejection, failed, now())
    end
end

-- After a failed try: only if it brought nothing to the app may the request go elsewhere.
local function give_up_failed(key, route, failed)
    failed.open = failed.open - 1
    peer_of[key], sent_of[key] = nil, nil
    traffic.unanswered(failed.counter)
    local one = story(key)
    one.tried[failed] = true
    one.instances[#one.instances + 1] = failed.instance_id
    local reached = not unreached()
    if not reached then
        failed.skipped_until = now() + SKIP_SECONDS
    end
    judge(route, failed, true)
    if reached then
        local _, status = balancer.get_last_failure()
        return nil, status
    end
    return one.tried
end

local function chosen(service, key, by_least, tried)
    if service.gray then
        return gray.pick(service, key, by_least, tried)
    end
    return pick(service, by_least, tried)
end

-- By itself: a function in which another one is made is never compiled, for no request.
local function started_slowly(peer, service, key, route, tried)
    return slow_start.choose(peer, route.slow_start_seconds, tried, now(), function(but)
        return chosen(service, key, route.least, but)
    end)
end

-- Chooses from the worker's current tables, not from those of the access phase: the body may have taken minutes.
function M.balance()
    local key = request_key()
    local route = route_of[key]
    local tried, status
    local failed = peer_of[key]
    if failed then
        tried, status = give_up_failed(key, route, failed)
        if not tried then
            return end_request(key, status, REASONS[status])
        end
    end
    local service = rotation.services[route.service]
    local peer = service and chosen(service, key, route.least, tried)
    if not peer then
        if tried then
            return end_request(key, 502, UNREACHABLE)
        end
        return end_request(key, 503, REASONS[503])
    end
    local filtered = route.filters
    if route.slow_start_seconds then
        peer = started_slowly(peer, service, key, route, tried)
    end
    if peer.ejected_until then
        ejection.chosen(peer, now())
    end
    if not tried and service.count > 1 then
        local tries = filtered and filtered.tries or TRIES_MAX
        set_more_tries(service.count < tries and service.count - 1 or tries - 1)
    end
    if filtered and filtered.timeout_seconds then
        set_timeouts(nil, filtered.timeout_seconds, filtered.timeout_seconds)
    end
    peer_of[key], sent_of[key] = peer, now()
    peer.open = peer.open + 1
    set_current_peer(peer.address, peer.port)
end

-- The body of every error that nginx itself makes; `reason` where its status does not tell.
function M.fault(reason)
    local key = request_key()
    local one, peer = story(key), peer_of[key]
    local status = one.status or ngx.status
    one.faulted = true
    if peer and not one.reason and unreached() then
        -- the last try allowed: nginx did not ask the balancer again
        peer.skipped_until = now() + SKIP_SECONDS
        one.reason = UNREACHABLE
    end
    one.reason = reason or one.reason or REASONS[status] or "the gateway refused the request"
    return answer(key, status, one.reason)
end

-- What the gateway answered itself, and why. The reasons are few: none has anything of the request in it.
local function count_refusal(route, reason)
    local labels = route and route.labels or 'service="",route=""'
    tallies.add(tallies.key("refusals_total", labels .. ",reason=" .. tallies.quoted(reason)))
end

local function log_access(route, peer, one)
    if route then
        var.coldchain_service = route.service
    end
    if peer then
        var.coldchain_version = peer.version
    end
    if one then
        if peer then
            one.instances[#one.instances + 1] = peer.instance_id
        end
        var.coldchain_instances = table.concat(one.instances, ", ")
        var.coldchain_reason = one.reason
    elseif peer then
        var.coldchain_instances = peer.instance_id
    end
end

-- How long the answer took. Of what stays open for as long as both sides like (a WebSocket, events) that is the time
-- to its head; of one that the consumer did not wait for, nil. Only what took a while is looked at so closely.
local function answer_seconds(status, seconds)
    if seconds <= QUICK_SECONDS then
        return seconds
    end
    if status == SWITCHED or sub(var.sent_http_content_type or "", 1, #EVENTS) == EVENTS then
        return tonumber(match(var.upstream_header_time or "", "([%d.]+)[ :,-]*$"))
    end
    return var.request_completion == "OK" and seconds or nil
end

-- Whether the instance broke off in the middle of an answer whose length it had given: the consumer was still there.
-- Of a chunked one nginx does not tell.
local function broken_off(status)
    local sent = var.sent_http_content_length  -- the same one unless a filter changed it, and easier to find for nginx
    local told = sent and var.upstream_response_length
    if sent and sent == told then
        return false  -- nearly always, and what follows is slow
    end
    local given = var.upstream_http_content_length
    if not given then
        return false
    end
    told = told or var.upstream_response_length
    local length, came = tonumber(given), match(told or "", "(%d+)$")
    return length and came and tonumber(came) < length and var.request_method ~= "HEAD" and status ~= 304
        and var.request_completion == "OK"
end

-- What became of the last try. Those before it were counted when they failed. Returns whether the instance failed, nil
-- where nobody knows.
local function count(counter, status, seconds, one, filtered)
    if filtered and filtered.grpc then
        status = grpc.status(status)
    end
    if one and one.faulted then
        traffic.unanswered(counter)
        return true
    elseif status == CONSUMER_LEFT and not find(var.upstream_status or "", "499$") then
        traffic.consumer_left(counter)
        return nil
    elseif broken_off(status) then
        traffic.broken_off(counter, status)
        return true
    end
    traffic.answered(counter, status, answer_seconds(status, seconds))
    return status >= 500
end

function M.log()
    local key = request_key()
    local route, peer, one = route_of[key], peer_of[key], story_of[key]
    local status = ngx.status
    if peer then
        peer.open = peer.open - 1
        judge(route, peer, count(peer.counter, status, now() - sent_of[key], one, route.filters))
        peer_of[key], sent_of[key] = nil, nil
    end
    if M.log_accesses then
        log_access(route, peer, one)
    end
    if route then
        shedding.open = shedding.open - 1
        tallies.add(route.statuses[min(floor((one and one.meant or status) / 100), 5)])
        if route.policies then
            policies.ended(key)
        end
        route_of[key] = nil
    end
    gray.ended(key)
    if one then
        story_of[key] = nil
        if one.reason and one.reason ~= REDIRECTED then
            count_refusal(route, one.reason)
        end
    end
end

return M
