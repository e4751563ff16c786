-- The control protocol, HTTP with JSON over a unix socket that only the gateway process reaches:
--   GET  /state     → {configuration, master, applied, head, workersWanted, workers, inFlight, ejected, leaseSeconds, draining,
--                      connections}
--   PUT  /rotation  ← {base, revision, services, routes, resources}; 204 when every worker works by it, 409 out of step,
--                     507 no memory (nothing changed), 504 a worker did not follow (the text says which)
--   GET  /traffic?since=MARK → {mark, instances}: what was counted of the instances with news since that mark
--   GET  /limits    → {limits}: what each limit was asked for, as limits.use says
--   POST /shares   ← {limit: share}: which part of each limit is this gateway's, of the others all
--   GET  /metrics   → Prometheus's text form
--   GET  /resources → {memory: [{name, bytes, free}], certificates: [{name, chain}]}: its shared memory, and what it shows
--   POST /lease     ← {"until": CLOCK_MONOTONIC seconds}; ready until then
--   POST /drain     tells every client connection to close, and is not ready any more; POST /resume takes that back
--   POST /goodbye   closes idle connections, and tells who speaks HTTP/2 to go; POST /resume ends that
--   POST /cut       ends every stream, whatever its instance; POST /resume takes that back too
-- and, on a listener of its own, GET /.coldchain/ready → 200 or 503 for the balancer before this gateway, and /metrics.

local certificates = require "coldchain.certificates"
local cjson = require "cjson.safe"
local limits = require "coldchain.limits"
local metrics = require "coldchain.metrics"
local rotation = require "coldchain.rotation"
local shares = require "coldchain.shares"
local store = require "coldchain.store"
local traffic = require "coldchain.traffic"
local workers = require "coldchain.workers"

local control = ngx.shared.coldchain_control
local format = string.format

local M = {configuration = "", acknowledge_seconds = 5}

local function answer(status, document)
    ngx.status = status
    if document then
        ngx.header["Content-Type"] = "application/json"
        ngx.print(type(document) == "string" and document or cjson.encode(document), "\n")
    end
    return ngx.exit(ngx.HTTP_OK)
end

local function fail(status, message)
    return answer(status, {message = message})
end

local function body()
    ngx.req.read_body()
    local text = ngx.req.get_body_data()
    local document = text and cjson.decode(text)
    return type(document) == "table" and document or nil
end

-- Every entry by key, as JSON text and as what that says; nil and the reason when one is not what this worker could work
-- by.
local function entries(update)
    local texts, documents = {}, {}
    local function add(key, document)
        texts[key], documents[key] = cjson.encode(document), document
    end
    for name, service in pairs(update.services or {}) do
        for _, endpoint in ipairs(service ~= cjson.null and service.endpoints or {}) do
            if type(endpoint.instanceId) ~= "string" or type(endpoint.address) ~= "string"
                or type(endpoint.port) ~= "number" or type(endpoint.weight) ~= "number" or endpoint.weight < 0 then
                return nil, "service " .. name .. " has an endpoint without instanceId, address, port or weight"
            end
            -- what workers do not need, each of them would have to read
            endpoint.since = nil
            endpoint.version = endpoint.version ~= "" and endpoint.version or nil
        end
        add("service:" .. name, service)
    end
    for domain, rules in pairs(update.routes or {}) do
        for _, rule in ipairs(rules ~= cjson.null and rules or {}) do
            if type(rule.path) ~= "string" or type(rule.service) ~= "string" then
                return nil, "domain " .. domain .. " has a route without path or service"
            end
            if type(rule.methods or {}) ~= "table" or type(rule.headers or {}) ~= "table" then
                return nil, "domain " .. domain .. " has a route whose methods or headers are none"
            end
            if rule.filters ~= nil and rule.filters ~= cjson.null and type(rule.filters) ~= "table" then
                return nil, "domain " .. domain .. " has a route whose filters are none"
            end
        end
        add("domain:" .. string.lower(domain), rules)
    end
    for key, resource in pairs(update.resources or {}) do
        add("resource:" .. key, resource)
    end
    return texts, documents
end

-- The lowest revision that a live worker works by: what the gateway as a whole has.
local function applied(all)
    local lowest = math.huge
    for _, worker in ipairs(all) do
        lowest = math.min(lowest, worker.revision)
    end
    return lowest == math.huge and 0 or lowest
end

-- The lowest revision that an update may have to build on: a worker that is only starting reads everything anyway.
local function oldest(all, revision)
    for _, worker in ipairs(all) do
        if worker.sequence > 0 then
            revision = math.min(revision, worker.revision)
        end
    end
    return revision
end

-- Returns the number of the commit, or nil, a status and a message. An update from an older base holds all that
-- changed since then, so it is right on every revision between: on those that only some workers have, too.
local function commit(update, texts)
    local _, _, revision = store.head()
    if update.revision < revision then
        return nil, 409, format("revision %.0f is older than %.0f", update.revision, revision)
    end
    local has = oldest(workers.all(), revision)
    if update.base ~= 0 and (update.base < has or update.base > revision) then
        return nil, 409, format("the update builds on %.0f, the gateway has %.0f", update.base, has)
    end
    local sequence, problem = store.commit(texts, update.revision, update.base == 0)
    if not sequence then
        return nil, 507, problem
    end
    return sequence
end

-- The endpoints that an update may take away: service name → its counters.
local function listed_before(update)
    local before = {}
    for name, service in pairs(rotation.services) do
        if update.base == 0 or (update.services or {})[name] then
            before[name] = service.counters
        end
    end
    return before
end

local function forget_counts(before)
    for name, counters in pairs(before) do
        local service = rotation.services[name]
        for instance in pairs(counters) do
            if not (service and service.counters[instance]) then
                traffic.forget(name, instance)
                control:delete("cut:" .. instance)
            end
        end
    end
end

local function put_rotation()
    local update = body()
    if not update or type(update.base) ~= "number" or type(update.revision) ~= "number" then
        return fail(400, "not a rotation update")
    end
    local texts, documents = entries(update)
    if not texts then
        return fail(400, documents)
    end
    local locked, problem = store.lock()
    if not locked then
        return fail(problem == store.NO_ROOM and 507 or 504, problem)
    end
    rotation.sync()
    local before = listed_before(update)
    local done, sequence, status, message = pcall(commit, update, texts)
    store.unlock()
    if not done then
        return fail(500, sequence)
    end
    if not sequence then
        return fail(status, message)
    end
    rotation.expect(texts, documents)
    local behind = workers.await(sequence, M.acknowledge_seconds)
    rotation.expect()
    forget_counts(before)
    if #behind > 0 then
        local reason = workers.cramped() and ", as " .. store.NO_ROOM or ""
        return fail(504, "worker " .. table.concat(behind, ", ") .. " did not take over the rotation" .. reason)
    end
    return answer(204)
end

-- Every endpoint of weight 0 is listed, also with 0; a removed one as long as it has open requests.
local function in_flight(all)
    local counts = {}
    for _, service in pairs(rotation.services) do
        for _, peer in pairs(service.peers) do
            if peer.weight == 0 then
                counts[peer.instance_id] = 0
            end
        end
    end
    for _, worker in ipairs(all) do
        for instance, open in pairs(worker.in_flight) do
            counts[instance] = (counts[instance] or 0) + open
        end
    end
    return counts
end

-- How many of those are streams, a moment late.
local function open_streams(all)
    local counts = {}
    for _, instances in pairs(workers.sum("streams", all)) do
        for instance, open in pairs(instances) do
            counts[instance] = (counts[instance] or 0) + open
        end
    end
    return counts
end

-- How many streams were ended here, by instance, for as long as it is listed.
local function cut_streams()
    local counts = {}
    for _, key in ipairs(control:get_keys(0)) do
        local instance = string.match(key, "^cut:(.*)$")
        if instance then
            counts[instance] = control:get(key)
        end
    end
    return counts
end

local function lease_seconds()
    return math.max(0, (control:get("lease") or 0) - workers.monotonic())
end

-- Revisions go out as text made here: cjson writes at most 14 digits, they have up to 16.
local function get_state()
    workers.tick()
    local all = workers.all()
    table.sort(all, function(one, other)  -- the memory knows no order
        return one.pid < other.pid
    end)
    local _, _, revision = store.head()
    local lines = {}
    for index, worker in ipairs(all) do
        lines[index] = format('{"pid": %d, "applied": %.0f}', worker.pid, worker.revision)
    end
    return answer(200, format(
        '{"configuration": "%s", "master": %d, "applied": %.0f, "head": %.0f, "workersWanted": %d, "workers": [%s], '
            .. '"inFlight": %s, "streams": %s, "cut": %s, "ejected": %s, "leaseSeconds": %.3f, "draining": %s, "connections": %d}',
        M.configuration, workers.master(), applied(all), revision, ngx.worker.count(),
        table.concat(lines, ", "), cjson.encode(in_flight(all)), cjson.encode(open_streams(all)), cjson.encode(cut_streams()),
        cjson.encode(workers.sum("ejected", all)),
        lease_seconds(), tostring(control:get("draining") or false),
        tonumber(ngx.var.connections_active)))
end

local function get_traffic()
    local mark, instances = traffic.news(rotation.services, tonumber(ngx.var.arg_since) or 0)
    return answer(200, format('{"mark": %.0f, "instances": %s}', mark, cjson.encode(instances)))
end

local function ready()
    return lease_seconds() > 0 and not control:get("draining")
end

function M.metrics()
    ngx.header["Content-Type"] = "text/plain; version=0.0.4; charset=utf-8"
    workers.tick()
    local all = workers.all()
    metrics.print({
        {"applied_revision", "Revision of the rotation that every worker works by.", applied(all)},
        {"lease_seconds", "Seconds until the gateway is not ready any more.", lease_seconds()},
        {"ready", "1 while the balancer before the gateway is told to use it.", ready() and 1 or 0},
        {"workers", "Workers of nginx that serve.", #all},
        {"connections", "Open connections of consumers and of whoever asks the gateway itself.",
            tonumber(ngx.var.connections_active)},
    }, workers.sum("open", all), workers.sum("ejected", all))
    return ngx.exit(ngx.HTTP_OK)
end

local function get_limits()
    workers.tick()
    return answer(200, {limits = limits.use(rotation.domains)})
end

local function post_shares()
    local given = body()
    for _, share in pairs(given or {}) do
        if type(share) ~= "number" or share <= 0 or share > 1 then
            given = nil
        end
    end
    if not given then
        return fail(400, "not the shares of limits")
    end
    local ok, problem = shares.tell(given)
    if not ok then
        workers.make_room()
        return fail(507, "the shares do not fit, those of before count: " .. (problem == "no memory" and store.NO_ROOM or problem))
    end
    return answer(204)
end

local function post_lease()
    local lease = body()
    if not lease or type(lease["until"]) ~= "number" then
        return fail(400, "not a lease")
    end
    return answer(control:safe_set("lease", lease["until"]) and 204 or 507)
end

local function post_drain()
    return answer(control:safe_set("draining", true) and 204 or 507)
end

local function post_goodbye()
    return answer(control:safe_set("goodbye", true) and 204 or 507)
end

local function post_cut()
    return answer(control:safe_set("cutting", true) and 204 or 507)
end

local function post_resume()
    control:safe_set("draining", false)
    control:safe_set("goodbye", false)
    control:safe_set("cutting", false)
    return answer(204)
end

-- Of the memory only pages that are free as a whole count: there is a little more room than that.
local function get_resources()
    local memory = {}
    for name, one in pairs(ngx.shared) do
        memory[#memory + 1] = {name = name, bytes = one:capacity(), free = one:free_space()}
    end
    local shown = certificates.shown()
    return answer(200, format('{"memory": %s, "certificates": %s}', cjson.encode(memory),
        #shown > 0 and cjson.encode(shown) or "[]"))
end

local HANDLERS = {
    ["GET /state"] = get_state,
    ["GET /traffic"] = get_traffic,
    ["GET /metrics"] = M.metrics,
    ["GET /resources"] = get_resources,
    ["PUT /rotation"] = put_rotation,
    ["GET /limits"] = get_limits,
    ["POST /shares"] = post_shares,
    ["POST /lease"] = post_lease,
    ["POST /drain"] = post_drain,
    ["POST /goodbye"] = post_goodbye,
    ["POST /cut"] = post_cut,
    ["POST /resume"] = post_resume,
}

function M.control()
    local handler = HANDLERS[ngx.req.get_method() .. " " .. ngx.var.uri]
    if not handler then
        return fail(404, "no such call")
    end
    return handler()
end

function M.ready()
    local now = ready()
    return answer(now and 200 or 503, {ready = now})
end

return M
