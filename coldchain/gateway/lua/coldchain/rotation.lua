-- The rotation as this worker works by it: plain tables, brought up to date by `sync` and by nothing else.
--
-- A peer is an endpoint of a service together with what this worker knows of it: open requests, and until when it is
-- skipped because it could not be reached. Peers keep their identity over updates (same instance, address and port),
-- so counts go on; a reused address of another instance is another peer. A removed peer with open requests is kept
-- in `leaving` until the last one ends. What its requests came to is counted by service and instance, in a counter.

local cjson = require "cjson.safe"
local ejection = require "coldchain.ejection"
local gray = require "coldchain.gray"
local matching = require "coldchain.matching"
local new_table = require "table.new"
local resources = require "coldchain.resources"
local store = require "coldchain.store"
local traffic = require "coldchain.traffic"

local M = {
    services = {},  -- name → service {name, peers, counters, ready, count, equal, turn, gray, orders}
    domains = {},   -- lower-case domain, `*.shop.test` or `*` → routes in the order in which they are asked
    leaving = {},   -- peer → true
    cuts = false,   -- whether there are endpoints whose streams are to end and which nobody has looked for yet
    revision = 0,
    sequence = 0,
}

local head = ""
local loaded = {}  -- key → the text that this worker works by
local expected, known = {}, {}  -- key → text, and what that says, of a commit that this worker itself made
local drained = {}  -- names of the services with an endpoint of weight 0
local routes_of_host = {}
local hosts_known = 0
local HOSTS_KNOWN_MAX = 10000

local function peer_key(endpoint)
    return endpoint.instanceId .. "|" .. endpoint.address .. "|" .. endpoint.port
end

local function make_peer(key, endpoint)
    local address = endpoint.address
    if string.find(address, ":", 1, true) then
        address = "[" .. address .. "]"
    end
    return {
        key = key, instance_id = endpoint.instanceId, address = address, port = endpoint.port, told = endpoint.address,
        weight = 0, current = 0, open = 0, skipped_until = 0,
        came = 0,
    }
end

-- The peer of an endpoint among the old ones. Most are found by what was last counted of the instance, since to make a
-- key takes longer.
local function peer_of(endpoint, counter, old_peers)
    local last = counter and counter.peer
    if last and last.told == endpoint.address and last.port == endpoint.port and old_peers[last.key] == last then
        return last, last.key
    end
    local key = peer_key(endpoint)
    return old_peers[key], key
end

local function leave(name, peers, kept)
    for key, peer in pairs(peers) do
        if not kept[key] then
            peer.weight = 0
            peer.service = name
            ejection.forget(peer)
            if peer.open > 0 then
                M.leaving[peer] = true
            end
        end
    end
end

local function returning(name, key)
    for peer in pairs(M.leaving) do
        if peer.service == name and peer.key == key then
            M.leaving[peer] = nil
            return peer
        end
    end
end

-- Endpoints that are gone are counted no more.
local function unlist(counters, kept)
    for instance, counter in pairs(counters) do
        counter.listed = kept[instance] == counter
    end
end

local function load_service(name, document)
    local old = M.services[name]
    local old_peers, old_counters = old and old.peers or {}, old and old.counters or {}
    if not document then
        leave(name, old_peers, {})
        unlist(old_counters, {})
        M.services[name], drained[name] = nil, nil
        return
    end
    local endpoints = document.endpoints
    local length = #endpoints
    local peers, counters, ready, equal = new_table(0, length), new_table(0, length), new_table(length, 0), true
    drained[name] = nil
    for index = 1, length do
        local endpoint = endpoints[index]
        local instance = endpoint.instanceId
        local counter = counters[instance] or old_counters[instance]
        local peer, key = peer_of(endpoint, counter, old_peers)
        peer = peer or returning(name, key) or make_peer(key, endpoint)
        counter = counter or traffic.counter(name, instance)
        peers[key], counters[instance] = peer, counter
        peer.counter, counter.peer = counter, peer
        peer.version = endpoint.version or ""
        counter.version = peer.version
        if peer.weight == 0 and endpoint.weight > 0 and old and old.count > 0 then
            peer.came = ngx.now()  -- of the first ones of a service nobody can take a part
        end
        peer.weight = endpoint.weight
        if endpoint.cutStreams then
            M.cuts = M.cuts or not peer.cut
        end
        peer.cut = endpoint.cutStreams
        if peer.weight > 0 then
            ready[#ready + 1] = peer
            equal = equal and peer.weight == ready[1].weight
        else
            drained[name] = true
            ejection.forget(peer)
        end
    end
    leave(name, old_peers, peers)
    unlist(old_counters, counters)
    M.services[name] = {
        name = name, peers = peers, counters = counters, ready = ready, count = #ready, equal = equal,
        -- Workers begin at different endpoints, so that few requests over many workers spread too.
        turn = math.random(0, math.max(0, #ready - 1)),
    }
    gray.split(M.services[name])
end

local function load_domain(name, rules)
    if not rules then
        M.domains[name] = nil
        return
    end
    M.domains[name] = matching.list(rules)
end

-- What came again as it was is left as it is: most of a whole rotation that a gateway is sent anew.
local function load(key, text)
    if loaded[key] == text then
        return
    end
    local kind, name = string.match(key, "^(%a+):(.*)$")
    local document = expected[key] == text and known[key] or cjson.decode(text)
    if document == cjson.null then
        document = nil
    end
    if kind == "service" then
        load_service(name, document)
    elseif kind == "resource" then
        resources.load(name, document)
    else
        load_domain(name, document)
    end
    loaded[key] = document and text
end

local function load_changes(sequence)
    local versions = {}
    for number = M.sequence + 1, sequence do
        local keys = store.changes(number)
        if not keys then
            return false
        end
        for _, key in ipairs(keys) do
            versions[key] = number
        end
    end
    local texts = {}
    for key, version in pairs(versions) do
        texts[key] = store.value(version, key)
        if not texts[key] then
            return false
        end
    end
    for key, text in pairs(texts) do
        load(key, text)
    end
    return true
end

local function load_all(first, sequence)
    local texts = {}
    for key, version in pairs(store.versions(first, sequence)) do
        texts[key] = store.value(version, key)
        if not texts[key] then
            return false
        end
    end
    for key in pairs(loaded) do
        if not texts[key] then
            load(key, "null")
        end
    end
    for key, text in pairs(texts) do
        load(key, text)
    end
    return true
end

-- What a commit brings, for the worker that made it and has read it already: by key the texts, and what each says.
-- Without any once it is over.
function M.expect(texts, documents)
    expected, known = texts or {}, documents or {}
end

-- Brings this worker's tables up to the last commit. Never yields: a request sees them before or after, not between.
-- False when commits overtook the reading: try again soon.
function M.sync()
    local raw, sequence, revision, first = store.head()
    if raw == head then
        return true
    end
    local follows = M.sequence > 0 and sequence >= M.sequence and first <= M.sequence
    if not (follows and load_changes(sequence)) and not load_all(first, sequence) then
        return false
    end
    gray.settle(M.services)
    head, M.sequence, M.revision = raw, sequence, revision
    routes_of_host, hosts_known = {}, 0
    return true
end

-- Whether there is a commit that `sync` has not seen.
function M.behind()
    return store.differs(head)
end

-- The routes for a Host header as it was sent (nil when there was none): without port, case and last dot.
local function find_routes(host)
    local domain = string.lower(host)
    domain = string.gsub(domain, ":%d*$", "")
    domain = string.gsub(domain, "%.$", "")
    local routes, dot = M.domains[domain], 0
    while not routes do
        dot = string.find(domain, ".", dot + 1, true)
        if not dot then
            return M.domains["*"]
        end
        routes = dot > 1 and M.domains["*" .. string.sub(domain, dot)]  -- the longest of those that it is below
    end
    return routes
end

function M.routes(host)
    local routes = routes_of_host[host or ""]
    if routes == nil then
        routes = find_routes(host or "") or false
        if hosts_known >= HOSTS_KNOWN_MAX then
            routes_of_host, hosts_known = {}, 0  -- made-up hosts must not fill the memory
        end
        routes_of_host[host or ""] = routes
        hosts_known = hosts_known + 1
    end
    return routes
end

-- Open requests of this worker by service and instance; those without any are left out.
function M.open()
    local counts = {}
    for name, service in pairs(M.services) do
        for _, peer in pairs(service.peers) do
            if peer.open > 0 then
                counts[name] = counts[name] or {}
                counts[name][peer.instance_id] = (counts[name][peer.instance_id] or 0) + peer.open
            end
        end
    end
    return counts
end

-- Open requests of this worker at endpoints that get no new ones, by instance; those without any are left out.
function M.draining()
    local counts = {}
    local function add(peer)
        if peer.weight == 0 and peer.open > 0 then
            counts[peer.instance_id] = (counts[peer.instance_id] or 0) + peer.open
        end
    end
    for name in pairs(drained) do
        for _, peer in pairs(M.services[name].peers) do
            add(peer)
        end
    end
    for peer in pairs(M.leaving) do
        if peer.open > 0 then
            add(peer)
        else
            M.leaving[peer] = nil
        end
    end
    return counts
end

return M
