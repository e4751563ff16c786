-- What the workers tell each other: which commit each of them works by, and how many requests it has open at
-- endpoints that get no new ones. One line per worker in the shared memory, under its process id. Beside it stands what
-- is open at all endpoints, told less often since nothing waits for it.

local ffi = require "ffi"
local buckets = require "coldchain.buckets"
local connections = require "coldchain.connections"
local cjson = require "cjson.safe"
local ejection = require "coldchain.ejection"
local held = require "coldchain.counts"
local rotation = require "coldchain.rotation"
local shares = require "coldchain.shares"
local shedding = require "coldchain.shedding"
local store = require "coldchain.store"
local streams = require "coldchain.streams"
local tallies = require "coldchain.tallies"
local traffic = require "coldchain.traffic"

local control = ngx.shared.coldchain_control
local format, match = string.format, string.match

ffi.cdef [[
typedef struct { long seconds; long nanoseconds; } coldchain_time;
int clock_gettime(int clock, coldchain_time *time);
int getppid(void);
]]

local M = {draining = false}

local TICK_SECONDS = 0.02
local WATCH_SECONDS = 0.003
local POLL_SECONDS = 0.001
local OPEN_SECONDS = 0.25
local OTHERS_SECONDS = 1
local CRAMPED_SECONDS = 2
local GOODBYE_SECONDS = 1
local CLOCK_MONOTONIC = 1
local time = ffi.new("coldchain_time")
-- pid, started, name, alive, known, published, problem, open, ejected, births
local own = {open_due = 0, others_due = 0, goodbye_due = 0}
-- What always has a place in the memory: a value of the same length is written over the one before it.
local FIXED = {
    lease = 0, draining = false, goodbye = false, cutting = false, writing = false, shares_told = 0, traffic = 0, births = 0,
    cramped = 0,
}
local TOLD = {"open", "ejected", "streams"}  -- what is only told, and makes room where the memory is full

-- Seconds that never jump, the same ones for every process of this machine.
function M.monotonic()
    ffi.C.clock_gettime(CLOCK_MONOTONIC, time)
    return tonumber(time.seconds) + tonumber(time.nanoseconds) / 1e9
end

function M.master()
    return ffi.C.getppid()
end

-- When a process started, in clock ticks since boot: with it a process id means one process for ever. nil: none such.
local function started(pid)
    local file = io.open("/proc/" .. pid .. "/stat")
    if not file then
        return nil
    end
    local text = file:read("*a") or ""
    file:close()
    local state, rest = match(text, "^.*%) (%a) (.*)$")
    if not state or state == "Z" or state == "X" then
        return nil
    end
    local index = 3
    for field in string.gmatch(rest, "%S+") do
        index = index + 1
        if index == 22 then
            return field
        end
    end
end

-- In the master, before anything else can fill the memory.
function M.init()
    for key, value in pairs(FIXED) do
        control:safe_add(key, value)
    end
end

-- Whether the memory was full a moment ago.
function M.cramped()
    return M.monotonic() < (control:get("cramped") or 0)
end

-- For a while no worker tells what nothing depends on.
function M.make_room()
    control:safe_set("cramped", M.monotonic() + CRAMPED_SECONDS)
end

-- Under `alive:` a worker is known by a text that never grows, should there be no room for what it works by.
local function announce()
    local text = format("%s %.0f 0 0 {}", own.started or "-", store.memory())
    own.known = control:safe_set(own.alive, text) and control:safe_set(own.name, text)
    if own.known then
        own.published = text
        control:incr("births", 1, 0)
    else
        M.make_room()
    end
    return own.known
end

-- One text holds both, so that nobody sees a new commit beside old counts. Where it does not fit, nginx has taken away the
-- one before it as well; that is put back, so that the worker counts as one that has not followed, until there is room.
local function publish()
    local text = format("%s %.0f %.0f %.0f %s", own.started or "-", store.memory(), rotation.sequence, rotation.revision,
        cjson.encode(rotation.draining()))
    if text == own.published then
        return
    end
    local ok, problem = control:safe_set(own.name, text)
    if ok then
        own.published, own.problem = text, nil
        return
    end
    control:safe_set(own.name, own.published)
    M.make_room()
    if own.problem ~= problem then
        own.problem = problem
        ngx.log(ngx.ERR, "cannot tell the other workers what this one works by, as ", store.NO_ROOM)
    end
end

local function publish_open(now)
    if now < own.open_due then
        return
    end
    own.open_due = now + OPEN_SECONDS
    if M.cramped() then
        for _, kind in ipairs(TOLD) do
            control:delete(kind .. ":" .. own.pid)
            own[kind] = nil
        end
        return
    end
    for kind, counts in pairs({open = rotation.open(), ejected = ejection.now(), streams = streams.draining()}) do
        local text = cjson.encode(counts)
        if text ~= own[kind] and control:safe_set(kind .. ":" .. own.pid, text) then
            own[kind] = text
        end
    end
end

-- By which a worker counts what it has open: its process id alone may be given again.
local function name_of(pid, since)
    return pid .. "-" .. since
end

-- Whose counts this worker adds to its own: asked anew when a worker was started, and while anything is counted now and
-- then, since one may have gone without another in its place.
local function follow_others(now)
    local births = control:get("births")
    if births == own.births and not (held.used and now >= own.others_due) then
        return
    end
    own.births, own.others_due = births, now + OTHERS_SECONDS
    local names = {}
    for _, worker in ipairs(M.all()) do
        names[#names + 1] = worker.name
    end
    held.follow(name_of(own.pid, own.started or "-"), names)
end

-- What is to end has been ended before anybody hears that this worker works by a rotation which says so.
local function cut_streams()
    local all = control:get("cutting")
    if rotation.cuts or all ~= streams.all then
        rotation.cuts, streams.all = false, all
        streams.draining()
    end
end

-- Takes over what is new and says so, and only then adds up its counts: who reads that this worker works by a commit
-- knows that it counts nothing more of what the commit took away.
function M.tick()
    if not own.known and not announce() then
        return  -- who reads unknown would not be waited for
    end
    M.draining = control:get("draining") or false
    shares.follow()  -- before the rotation that came with them
    if rotation.sync() then
        cut_streams()
        publish()
    end
    local now = M.monotonic()
    follow_others(now)
    traffic.flush(now)
    tallies.flush(now)
    publish_open(now)
end

-- In the timer of `follow`, not wherever a tick is asked for: nginx must not be in the middle of a request.
local function say_goodbye(now)
    if control:get("goodbye") and now >= own.goodbye_due then
        own.goodbye_due = now + GOODBYE_SECONDS  -- to those that came since, too
        connections.say_goodbye()
    end
end

-- `busy` tells whether the worker has requests: one that is told to exit follows the rotation until the last one ends.
local function follow(_, busy)
    while true do
        local ok, problem = pcall(M.tick)
        if not ok then
            ngx.log(ngx.ERR, "cannot follow the rotation: ", problem)
        end
        say_goodbye(M.monotonic())
        if ngx.worker.exiting() and not busy() then
            traffic.flush(M.monotonic(), true)
            tallies.flush(M.monotonic(), true)
            return
        end
        local slept_at = M.monotonic()
        ngx.sleep(TICK_SECONDS)
        shedding.follow(M.monotonic() - slept_at - TICK_SECONDS)
    end
end

-- A commit need not wait for the next tick: to look whether there is one costs next to nothing.
local function watch(_, busy)
    while not ngx.worker.exiting() or busy() do
        ngx.sleep(WATCH_SECONDS)
        if rotation.behind() then
            local ok, problem = pcall(M.tick)
            if not ok then
                ngx.log(ngx.ERR, "cannot follow the rotation: ", problem)
            end
        end
    end
end

-- Makes itself known before it reads: a commit after that waits for it, one before that is read.
function M.start(busy)
    local pid = ngx.worker.pid()
    own.pid, own.started = pid, started(pid)
    own.name, own.alive = "worker:" .. pid, "alive:" .. pid
    math.randomseed(pid + ngx.now() * 1000)
    buckets.start()
    M.tick()
    assert(ngx.timer.at(0, follow, busy))
    assert(ngx.timer.at(0, watch, busy))
end

-- Every live worker on this memory: {pid, name, sequence, revision, in_flight}. Those that are gone, however they went, are forgotten.
function M.all()
    local all = {}
    local pids = {}
    for _, name in ipairs(control:get_keys(0)) do
        local pid = match(name, "^worker:(%d+)$") or match(name, "^alive:(%d+)$")
        if pid then
            pids[pid] = true
        end
    end
    for pid in pairs(pids) do
        local text = control:get("worker:" .. pid) or control:get("alive:" .. pid)
        if text then
            local since, memory, sequence, revision, counts = match(text, "^(%S+) (%d+) (%d+) (%d+) (.*)$")
            -- Where this worker cannot even see itself, /proc says nothing of the others: all count as alive.
            if own.started and started(pid) ~= since then
                control:delete("worker:" .. pid)
                control:delete("alive:" .. pid)
                for _, kind in ipairs(TOLD) do
                    control:delete(kind .. ":" .. pid)
                end
                held.forget(name_of(pid, since))
            elseif tonumber(memory) == store.memory() then
                all[#all + 1] = {
                    pid = tonumber(pid), name = name_of(pid, since), sequence = tonumber(sequence),
                    revision = tonumber(revision), in_flight = cjson.decode(counts),
                }
            end
        end
    end
    return all
end

-- Over these workers, by service and instance: `open` requests, `streams` where there are no new ones, or how many of the workers have `ejected` it.
function M.sum(kind, all)
    local counts = {}
    for _, worker in ipairs(all) do
        for service, instances in pairs(cjson.decode(control:get(kind .. ":" .. worker.pid) or "{}")) do
            counts[service] = counts[service] or {}
            for instance, open in pairs(instances) do
                counts[service][instance] = (counts[service][instance] or 0) + open
            end
        end
    end
    return counts
end

-- Waits until every live worker works by a commit. Returns the process ids of those that did not in time.
function M.await(sequence, seconds)
    local deadline = M.monotonic() + seconds
    while true do
        M.tick()
        local behind = {}
        for _, worker in ipairs(M.all()) do
            if worker.sequence < sequence then
                behind[#behind + 1] = worker.pid
            end
        end
        if #behind == 0 or M.monotonic() > deadline then
            return behind
        end
        ngx.sleep(POLL_SECONDS)
    end
end

return M
